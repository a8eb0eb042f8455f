"""A device over ssh: the system's own client, its keys and its configuration; nothing is copied and nothing stays."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgeloop.errors import ConfigError, PlaceError
from edgeloop_converters.places.place import ProcessFailedError, ask_process, unknown_command

__all__ = ["SshPlace", "parse_ssh_url"]

_SSH_FAILED, _NOT_FOUND = 255, 127
_CONNECT_S = 15
_CHECK_S = 60.0


@dataclass(frozen=True)
class SshPlace:
    """A device that `ssh` reaches without asking for a password, with the bare install of edgeloop.

    Args:
        name: the URL.
        host: as ssh takes it: a name, an address, or a `Host` of `~/.ssh/config`.
        user: None is ssh's own default.
        port: None is ssh's own default.
        command: the `edgeloop` command on the device.
        options: more of ssh's options.
        timeout_s: of one job.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    command: str = "edgeloop"
    options: Sequence[str] = ()
    timeout_s: float = 1800.0

    is_emulator = False

    def check(self) -> None:
        """See `Place.check`."""
        self._edgeloop("job --help", b"", _CHECK_S)

    def ask(self, job: bytes) -> bytes:
        """See `Place.ask`."""
        return self._edgeloop("job", job, self.timeout_s)

    def _edgeloop(self, words: str, given: bytes, timeout_s: float) -> bytes:
        target = self.host if self.user is None else f"{self.user}@{self.host}"
        port = [] if self.port is None else ["-p", str(self.port)]
        quiet = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
        command = ["ssh", *quiet, *port, *self.options, "--", target, f"{shlex.quote(self.command)} {words}"]
        try:
            return ask_process(command, given, timeout_s=timeout_s, where=self.name)
        except ProcessFailedError as error:
            raise PlaceError(self._explain(error)) from error

    def _explain(self, error: ProcessFailedError) -> str:
        if error.code == _SSH_FAILED:
            lines = [line.strip() for line in error.said.splitlines() if line.strip()]
            try_it = " ".join(["ssh", *([f"-p {self.port}"] if self.port else []), self.host])
            return f"{self.name}: ssh failed: {lines[-1] if lines else 'no reason given'}: does `{try_it}` work?"
        if error.code == _NOT_FOUND:
            return (
                f"{self.name}: no {self.command!r} there: `pip install edgeloop` on the device, and where it is in a "
                "virtual environment, say so: ssh://HOST/home/pi/venv/bin/edgeloop"
            )
        if unknown_command(error.said):
            return f"{self.name}: its edgeloop is too old to take jobs: `pip install -U edgeloop` on the device"
        return str(error)


def parse_ssh_url(url: str) -> SshPlace:
    """Read `ssh://[user@]host[:port][/path/to/edgeloop]`. Raises `ConfigError`."""
    wanted = "write ssh://[USER@]HOST[:PORT], and the path of its edgeloop command where it isn't on the PATH"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}: {wanted}") from error
    if parts.scheme != "ssh" or not host or host.startswith("-") or parts.query or parts.fragment:
        raise ConfigError(f"{url!r}: {wanted}")
    if parts.password is not None:
        raise ConfigError("ssh: a password doesn't belong into the URL: use a key (ssh-copy-id)")
    command = unquote(parts.path) if parts.path not in ("", "/") else "edgeloop"
    return SshPlace(url, host, parts.username, port, command)
