"""A device over ssh: this machine, through a real sshd."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeloop import Runtime
from edgeloop.errors import ConfigError, PlaceError
from edgeloop_converters.places import SshPlace, open_place, run_at
from edgeloop_converters.places.ssh import parse_ssh_url
from ssh_servers import SshServer, ssh_server
from tiny_models import FEATURES, tiny_artifact

X = np.random.default_rng(0).normal(size=(20, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def command(folder: Path, body: str) -> Path:
    """A script on the device."""
    path = folder / "edgeloop"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def place(server: SshServer, path: Path | str) -> SshPlace:
    return replace(parse_ssh_url(f"{server.url}{path}"), options=server.options)


def test_a_device_over_ssh_answers_as_it_would_itself(server: SshServer, tmp_path: Path) -> None:
    path = os.pathsep.join(sys.path)
    body = f"echo 'Welcome!'\nPYTHONPATH='{path}' exec {sys.executable} -m edgeloop \"$@\""
    device = place(server, command(tmp_path, body))
    device.check()
    found = run_at(device, tiny_artifact(), X)
    with Runtime(tiny_artifact()) as runtime:
        wanted = np.stack([runtime.run(x).output for x in X])
    assert np.array_equal(found.outputs["probabilities"], wanted)
    assert found.latency is not None
    with pytest.raises(PlaceError, match=r"127\.0\.0\.1.*: an input of shape \(2,\)"):
        run_at(device, tiny_artifact(), X[:, :2])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo \"edgeloop: error: argument COMMAND: invalid choice: 'job'\" >&2; exit 2", "is too old to take jobs"),
        ("echo 'ImportError: libc.so' >&2; exit 1", "it ended with 1: ImportError: libc.so"),
    ],
)
def test_what_is_wrong_on_the_device_is_said(server: SshServer, tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(PlaceError, match=says):
        run_at(place(server, command(tmp_path, body)), tiny_artifact(), X)


def test_a_device_without_edgeloop_says_to_install_it(server: SshServer) -> None:
    bare = place(server, "/no/such/edgeloop")
    for ask in (bare.check, lambda: run_at(bare, tiny_artifact(), X)):
        with pytest.raises(PlaceError, match="no '/no/such/edgeloop' there: `pip install edgeloop` on the device"):
            ask()


def test_a_key_that_is_not_let_in_is_said_with_what_to_try(server: SshServer) -> None:
    stranger = replace(place(server, ""), options=("-F", "none", "-i", "/dev/null", "-o", "StrictHostKeyChecking=no",
                                                   "-o", "UserKnownHostsFile=/dev/null"))  # fmt: skip
    with pytest.raises(PlaceError, match=r"ssh failed: .*Permission denied.*: does `ssh -p \d+ 127\.0\.0\.1` work"):
        run_at(stranger, tiny_artifact(), X)


def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(PlaceError, match=r"ssh failed: .*Connection refused"):
        run_at(open_place("ssh://127.0.0.1:1"), tiny_artifact(), X)


def test_a_url_is_read() -> None:
    found = parse_ssh_url("ssh://pi@cam-1.local:2222/home/pi/venv/bin/edgeloop")
    assert (found.user, found.host, found.port, found.command) == (
        "pi", "cam-1.local", 2222, "/home/pi/venv/bin/edgeloop",
    )  # fmt: skip
    assert parse_ssh_url("ssh://cam-1").command == "edgeloop"
    for bad in ("ssh://", "ssh://-oProxyCommand=x/", "ssh://a:99999", "ssh://a?x=1"):
        with pytest.raises(ConfigError, match="write ssh://"):
            parse_ssh_url(bad)
    with pytest.raises(ConfigError, match="use a key"):
        parse_ssh_url("ssh://pi:secret@cam-1")
