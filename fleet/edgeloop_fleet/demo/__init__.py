"""`edgeloop demo`: the whole loop on real images, with real processes, a real broker and a real lake.

The story is told in `story.py`; `digits.py` has the images, `camera.py` is what a device looks through, `devices.py`
starts and stops the device processes, `network.py` trains, `verdict.py` judges, `report.py` draws.
"""
