"""Who we are towards a broker, and whom we trust: three files, made by `edgeloop enroll`. Paths only, never secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["TlsFiles", "tls_context", "tls_from_environment"]

_VARIABLES = {"ca": "EDGELOOP_TLS_CA", "certificate": "EDGELOOP_TLS_CERTIFICATE", "key": "EDGELOOP_TLS_KEY"}


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files.

    Args:
        ca: the certificate of the authority that the broker's own must come from; no other is trusted then.
        certificate: ours.
        key: its private key, unencrypted; only its owner should be able to read it.
    """

    ca: str
    certificate: str
    key: str


def tls_from_environment(environ: Mapping[str, str]) -> TlsFiles | None:
    """The files that `EDGELOOP_TLS_CA`, `_CERTIFICATE` and `_KEY` name; None where none of them is set.

    Raises:
        ConfigError: some of them are set, and others not.
    """
    found = {field: environ[name] for field, name in _VARIABLES.items() if environ.get(name)}
    if not found:
        return None
    lacking = [name for field, name in _VARIABLES.items() if field not in found]
    if lacking:
        raise ConfigError(f"{', '.join(lacking)}: not set: a broker with certificates needs all of the three")
    return TlsFiles(**found)


def tls_context(files: TlsFiles | None) -> ssl.SSLContext:
    """A context for a client: TLS 1.2 or later, the broker's certificate and name checked.

    Args:
        files: None trusts the system's authorities and has no certificate of its own.

    Raises:
        ConfigError: a file can't be read, or isn't what it should be; the message names it.
    """
    import ssl  # 1 MB that a broker without TLS doesn't need

    ca = None if files is None else files.ca
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError(f"{ca}: no certificate of an authority: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files is not None:
        for path in (files.certificate, files.key):
            if not Path(path).is_file():
                raise ConfigError(f"{path}: no such file: `edgeloop enroll` makes it")
        try:
            # Without a password function OpenSSL would ask on the terminal.
            context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        except OSError as error:
            raise ConfigError(
                f"{files.certificate} and {files.key}: not a certificate and its own unencrypted key: {_why(error)}"
            ) from error
    return context


def _why(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
