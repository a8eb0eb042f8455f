"""The README's own lines, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgeloop import Runtime
from edgeloop.errors import InputError
from tree import REPO

BLOCKS = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.tf
def test_converting_and_running_work_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keras = pytest.importorskip("keras", reason="the convert extra isn't installed")
    from sklearn.datasets import load_digits

    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    digits = load_digits()
    x, y = (digits.images[..., np.newaxis] / 16).astype(np.float32), digits.target
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:1000], y[:1000], epochs=20, verbose=0)
    model.save("model.keras")
    names = {"x_train": x[:1000], "y_train": y[:1000], "x_test": x[1000:], "y_test": y[1000:], "image": x[1500]}

    exec(BLOCKS[0], names)
    exec(BLOCKS[1], names)

    label, confidence, latency_us = capsys.readouterr().out.splitlines()[-1].split()
    assert label in set("0123456789")
    assert 0 < float(confidence) <= 1
    assert float(latency_us) > 0
    refused = BLOCKS[2].splitlines()[1]
    with Runtime("digits.tflite") as runtime, pytest.raises(InputError) as caught:
        runtime.run(x[0][:7])
    assert refused == f"InputError: {caught.value}"


def test_the_fleet_s_lines_compile() -> None:
    """They need a broker and a fleet: tests/fleet/test_centre.py runs what they call."""
    compile(BLOCKS[3], "README.md", "exec")
    assert "Centre(" in BLOCKS[3]
