"""Peers live in environments of their own, and one that can't be had says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeloop_bench.peers import PEERS, Peer, PeerUnavailableError, peer_python, peers_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for peer in PEERS.values():
        monkeypatch.delenv(peer.variable, raising=False)
    return tmp_path


def test_a_python_that_has_it_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer("some-peer", ("nothing==1",), "import json")
    monkeypatch.setenv("EDGELOOP_SOME_PEER_PYTHON", sys.executable)
    assert peer_python(peer) == Path(sys.executable)
    assert not peers_folder().exists()
    absent = Peer("some-peer", ("nothing==1",), "import no_such_module")
    with pytest.raises(PeerUnavailableError, match=r"EDGELOOP_SOME_PEER_PYTHON = .* No module named 'no_such_module'"):
        peer_python(absent)


def test_what_pip_cannot_install_is_told_and_tried_again_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    peer = Peer("absent", ("edgeloop-no-such-peer==1",), "import no_such_module")
    for _ in range(2):
        with pytest.raises(PeerUnavailableError, match=r"pip can't install absent: .*edgeloop-no-such-peer"):
            peer_python(peer)
    (folder,) = peers_folder().iterdir()
    (folder / ".installed").touch()  # as if pip had found it
    assert peer_python(peer) == folder / "bin" / "python"


def test_a_peer_without_a_wheel_for_this_python_says_which_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    old = Peer("old", ("old==1",), "import old", newest_python=(3, 9))
    with pytest.raises(
        PeerUnavailableError, match=r"old has no wheel for Python 3\.\d+, and no python3\.9 is on the PATH"
    ):
        peer_python(old)


def test_every_peer_is_pinned() -> None:
    for peer in PEERS.values():
        assert "==" in peer.requirements[0]
