"""An ingest of the campaign: the real one, with a clock that jumps at SIGUSR1.

python centre.py BROKER_URL LAKE CLIENT_ID SEED [--no-dedupe]
"""

from __future__ import annotations

import logging
import random
import signal
import sys
import threading
from datetime import datetime, timedelta, timezone

from edgeloop_fleet import ingest
from edgeloop_fleet.dedupe import Ranges, Seen
from edgeloop_fleet.lake import Lake

KEEPALIVE_S = 4


def main() -> None:
    url, lake, client_id, seed = sys.argv[1:5]
    rng, offset = random.Random(seed), [timedelta()]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: offset.__setitem__(0, timedelta(days=rng.uniform(-900, 900))))
    ingest._utc_now = lambda: datetime.now(timezone.utc) + offset[0]  # noqa: SLF001  # the clock is what we move
    if "--no-dedupe" in sys.argv:
        Seen.of = lambda *_: Ranges()
    with ingest.Ingester(url, Lake(lake), client_id=client_id, keepalive_s=KEEPALIVE_S) as running:
        while not stop.wait(0.2):
            running.check()


if __name__ == "__main__":
    main()
