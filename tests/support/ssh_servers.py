"""A real sshd on a free port of the loopback, with keys and a configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from brokers import free_port


@dataclass(frozen=True)
class SshServer:
    """Where it listens, and the options with which a client gets in without having ever been there."""

    url: str
    options: tuple[str, ...]


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    binary = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if binary is None or shutil.which("ssh") is None:
        pytest.skip("no ssh client and server on this machine: apt-get install openssh-client openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd drops its privileges
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    log = folder / "sshd.log"
    server = subprocess.Popen([binary, "-D", "-f", folder / "sshd_config", "-E", log])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None:
                raise RuntimeError(f"sshd did not start: {log.read_text()}")
            time.sleep(0.05)
        options = (
            "-F", "none", "-i", str(folder / "user"), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
            "-o", f"UserKnownHostsFile={folder}/known_hosts",
        )  # fmt: skip
        yield SshServer(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", options)
    finally:
        server.terminate()
        server.wait()
