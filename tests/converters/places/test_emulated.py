"""The emulated userland: what keeps it from working is said; where its root is there, it is run."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import ConfigError, PlaceError
from edgeloop.job import answer, make_job
from edgeloop_converters.places import EmulatedPlace, open_place, run_at
from edgeloop_converters.places.emulated import PROCESSORS, parse_emulated
from tiny_models import FEATURES, tiny_artifact
from tree import REPO

X = np.random.default_rng(0).normal(size=(10, FEATURES)).astype(np.float32)


def test_a_root_that_is_not_there_says_how_to_build_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PlaceError, match=r"no root .*edgeloop/roots/arm64: build it with .*emulated_root.sh arm64"):
        run_at(open_place("emulated-arm64"), tiny_artifact(), X)


def test_another_user_than_root_is_told_to_use_sudo(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "opt/edgeloop").mkdir(parents=True)
    (tmp_path / "opt/edgeloop/ready").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    place = replace(parse_emulated("emulated-arm64"), root=tmp_path)
    with pytest.raises(PlaceError, match="need root: run it with sudo"):
        run_at(place, tiny_artifact(), X)


def test_a_board_is_chosen_by_name() -> None:
    assert parse_emulated("emulated-arm64").processor is PROCESSORS["rpi4"]
    assert parse_emulated("emulated-arm64:rpi5").processor.cpu == "cortex-a76"
    assert parse_emulated("emulated-armhf").processor.arch == "armhf"
    for bad in ("emulated-arm64:rpi9", "emulated-mips", "emulated-armhf:rpi5"):
        with pytest.raises(ConfigError, match="there are emulated-arm64:rpi4"):
            open_place(bad)


def test_a_place_of_no_kind_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown place 'toaster': write ssh://.*mqtt://.*emulated-arm64"):
        open_place("toaster")


def test_the_script_that_builds_a_root_says_which_it_can_build() -> None:
    done = subprocess.run([REPO / "scripts/emulated_root.sh", "mips"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "write arm64 or armhf" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["emulated-arm64:rpi4", "emulated-arm64:rpi5", "emulated-armhf"])
def test_an_emulated_pi_answers_with_its_own_kernels_and_tells_no_latency(name: str) -> None:
    place = open_place(name)
    assert isinstance(place, EmulatedPlace)
    if place.missing:
        pytest.skip(place.missing)
    mounts = Path("/proc/self/mounts").read_text()
    found = run_at(place, tiny_artifact(), X)
    assert found.machine.arch == {"arm64": "aarch64", "armhf": "armv7l"}[place.processor.arch]
    assert found.latency is None
    (here,) = answer(make_job(tiny_artifact().to_bytes(), X)).arrays().values()
    assert np.allclose(found.outputs["probabilities"], here, atol=1e-6)
    assert Path("/proc/self/mounts").read_text() == mounts
