"""Peers to measure beside: other people's programs, each in an environment of its own, made when first needed.

They want other versions of what edgeloop wants, or another Python, and nobody needs them but a benchmark. So they go
into `$XDG_CACHE_HOME/edgeloop/peers`, and where one can't be installed its rows are left out, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import EdgeloopError

__all__ = ["PEERS", "Peer", "PeerUnavailableError", "clean_environment", "peer_python", "peers_folder"]

INSTALL_S, CHECK_S = 1800.0, 300.0


class PeerUnavailableError(EdgeloopError):
    """A peer isn't there and can't be installed; the message is the reason."""


@dataclass(frozen=True)
class Peer:
    """A program to measure beside.

    Args:
        name: of its folder, and in `EDGELOOP_NAME_PYTHON`, which names a Python that has it already.
        requirements: for pip, pinned.
        check: Python that fails where it isn't installed.
        newest_python: the last version of Python that it has wheels for; None for any.
    """

    name: str
    requirements: tuple[str, ...]
    check: str
    newest_python: tuple[int, int] | None = None

    @property
    def variable(self) -> str:
        """The environment variable that names a Python that has it."""
        return f"EDGELOOP_{self.name.upper().replace('-', '_')}_PYTHON"


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("cobs", ("cobs==1.2.2",), "import cobs.cobs"),
        Peer("tflite-runtime", ("tflite-runtime==2.14.0", "numpy<2"), "import tflite_runtime.interpreter", (3, 11)),
        Peer(
            "tfmot",
            ("tensorflow-model-optimization==0.8.1", "tf_keras>=2.21", "tensorflow>=2.21"),
            "import tensorflow_model_optimization",
        ),
        Peer("whylogs", ("whylogs==1.6.4", "numpy<2", "pandas<3", "setuptools<81"), "import whylogs", (3, 11)),
    )
}


def peers_folder() -> Path:
    """Where environments are kept: `$XDG_CACHE_HOME/edgeloop/peers`, or `~/.cache/edgeloop/peers`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop" / "peers"


def peer_python(peer: Peer) -> Path:
    """The Python that has `peer`: what its variable names, or one of an environment that is made where it is absent.

    An environment is installed under another name first, so that one that was interrupted is never taken for whole.

    Raises:
        PeerUnavailableError: it can't be had.
    """
    if named := os.environ.get(peer.variable):
        _run([named, "-c", peer.check], f"{peer.variable} = {named} doesn't have it", CHECK_S)
        return Path(named)
    base = _base_python(peer)
    wanted = "\n".join((base, *peer.requirements))
    home = peers_folder() / f"{peer.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python, done = home / "bin" / "python", home / ".installed"
    if done.is_file() and python.exists():
        return python
    sys.stderr.write(f"installing {', '.join(peer.requirements)} into {home}\n")
    shutil.rmtree(home, ignore_errors=True)
    _run([base, "-m", "venv", "--without-pip", str(home)], f"{base} makes no environment", INSTALL_S)
    # Our own pip installs there: a copy of pip for each peer takes longer than most peers do.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-input", *peer.requirements], f"pip can't install {peer.name}", INSTALL_S)
    _run([str(python), "-c", peer.check], f"{peer.name} was installed and doesn't work", CHECK_S)
    done.touch()
    return python


def clean_environment() -> dict[str, str]:
    """This process's environment without `PYTHONPATH`: our packages are not for another Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _base_python(peer: Peer) -> str:
    """Our own Python, or an older one that the peer has wheels for."""
    newest = peer.newest_python
    if newest is None or sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], 9, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise PeerUnavailableError(
        f"{peer.name} has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}, and "
        f"no python3.{newest[1]} is on the PATH"
    )


def _run(command: list[str], wrong: str, timeout_s: float) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s, env=clean_environment())
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise PeerUnavailableError(f"{wrong}: {lines[-1][:300] if lines else 'no reason given'}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerUnavailableError(f"{wrong}: {str(error)[:300]}") from error
