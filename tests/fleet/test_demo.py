"""The whole loop, as `edgeloop demo` runs it: real processes, broker, lake and images."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from browser import open_page
from edgeloop_fleet.demo.camera import frame_of, look
from edgeloop_fleet.demo.digits import POOLS, load_digits
from edgeloop_fleet.demo.verdict import reconcile


def demo(directory: Path, seed: int) -> dict:
    command = [sys.executable, "-m", "edgeloop", "demo", "--json", "--seed", str(seed), "-o", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def assert_closed(found: dict) -> None:
    assert all(check["holds"] for check in found["checks"]), found["checks"]
    (alarm,) = found["alarms"]
    assert alarm["devices"] == ["cam-2", "cam-3"]
    assert alarm["kind"] == "covariate shift"
    assert {e["device"] for e in alarm["evidence"]} == {"cam-2", "cam-3"}
    assert found["recovered"] >= 0.5
    for row in found["ledger"].values():
        assert row["sent"] == row["stored"] > 0
        assert row["lost"] == row["duplicates"] == 0
    assert found["seconds"] < 240


@pytest.mark.tf
def test_the_loop_closes(tmp_path: Path) -> None:
    found = demo(tmp_path, seed=1)
    assert_closed(found)
    page = Path(found["report"]).read_text()
    assert "The loop closed." in page
    assert "<script src" not in page  # it needs no network
    assert open_page(Path(found["report"]).resolve()).count("main-svg") >= 3  # its plots are drawn


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.parametrize("seed", [2, 3])
def test_the_loop_closes_for_other_seeds(tmp_path: Path, seed: int) -> None:
    assert_closed(demo(tmp_path, seed))


def test_the_pools_share_no_image_and_keep_the_writers_order() -> None:
    bounds = list(POOLS.values())
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    assert bounds[-1][1] <= len(load_digits().x) == 1797


def test_the_lens_blurs_and_wears() -> None:
    image = load_digits().x[0]
    rng = np.random.default_rng(0)
    assert np.array_equal(look(image, "good", rng), image)
    blurred, worn = look(image, "blurred", rng), look(image, "worn", rng)
    assert blurred.shape == worn.shape == image.shape
    assert blurred.sum() == pytest.approx(image.sum(), rel=0.1)
    assert worn.std() < 0.5 * blurred.std() < 0.5 * image.std()


def test_a_frame_s_name_tells_the_truth() -> None:
    assert frame_of("during/worn/1300/77") == ("during", "worn", 1300)


def test_the_ledger_finds_what_is_lost_and_what_came_twice() -> None:
    full = [(9, seq) for seq in range(1, 6)]
    assert reconcile(9, 5, full).lost == reconcile(9, 5, full).duplicates == 0
    found = reconcile(9, 5, [*full[:3], (9, 1), (8, 4)])
    assert (found.stored, found.lost, found.duplicates) == (4, 2, 1)
