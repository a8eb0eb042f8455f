"""The campaign in small; in full, and with the mistakes that it must find, where there is time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tree import REPO

RUN = REPO / "benchmarks" / "suites" / "campaign" / "run.py"


def campaign(*arguments: str, timeout_s: float = 280) -> tuple[int, dict[str, Any]]:
    if not (shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")):
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto")
    done = subprocess.run(
        [sys.executable, str(RUN), "--json", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=timeout_s,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_nothing_is_lost_and_nothing_comes_twice_in_a_small_campaign():
    code, found = campaign("--messages", "2000", "--faults", "16", "--seconds", "6", "--drain", "120")
    assert (found["lost"], found["duplicated"], found["changed"], found["pending"]) == (0, 0, 0, 0), found
    assert found["stored"] == found["put"] >= 2000
    assert found["faults_total"] + sum(found["skipped"].values()) == 16
    assert code == 0, found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_nothing_is_lost_and_nothing_comes_twice_in_the_full_campaign():
    code, found = campaign(timeout_s=1400)
    assert found["stored"] == found["put"] >= 200_000
    assert code == 0, found


@pytest.mark.slow
@pytest.mark.parametrize(("sabotage", "wrong"), [("no-dedupe", "duplicated"), ("forget-at-puback", "lost")])
def test_the_campaign_finds_what_it_is_there_to_find(sabotage: str, wrong: str):
    code, found = campaign(
        "--messages", "8000", "--faults", "40", "--seconds", "20", "--drain", "60", "--sabotage", sabotage
    )
    assert code == 1
    assert found[wrong] > 0
