"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from pathlib import Path

__all__ = ["check_writable", "write_all_atomic", "write_atomic"]


def write_atomic(path: str | os.PathLike[str], data: bytes | str, *, is_secret: bool = False) -> None:
    """Write `data` to a temporary name beside `path`, sync it to disk, and rename it over `path`.

    Text is written as UTF-8. After a crash or a power cut at any moment `path` holds the old bytes or
    the new ones. A secret is never readable by anyone but its owner (mode 0600), under its temporary name neither.
    Raises `OSError`, which names `path`; the temporary file is removed.
    """
    write_all_atomic({path: data}, secrets=(path,) if is_secret else ())


def write_all_atomic(
    files: Mapping[str | os.PathLike[str], bytes | str], *, secrets: Collection[str | os.PathLike[str]] = ()
) -> None:
    """As `write_atomic`, several files: none is renamed before all are written, so a full disk changes none of them.

    `secrets` are those of `files` that only their owner may read.

    Raises `OSError`, which names the file that couldn't be written; the temporary files are removed.
    """
    ready: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for name, data in files.items():
            path = Path(name)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            raw = data.encode() if isinstance(data, str) else data
            _write_beside(path, raw, ready, is_secret=name in secrets)
        for temporary, target in ready:
            path = target
            temporary.replace(target)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        for temporary, _ in ready:
            temporary.unlink(missing_ok=True)
    for folder in {target.parent for _, target in ready}:
        sync_directory(folder)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the `OSError` that writing `path` would, before the work whose result it is to hold.

    Raises:
        OSError: its folder is missing or can't be written to, or it is a folder itself.
    """
    import tempfile  # reading an artifact needs none of what it brings along

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    os.close(handle)
    Path(temporary).unlink()


def _write_beside(path: Path, raw: bytes, ready: list[tuple[Path, Path]], *, is_secret: bool) -> None:
    import tempfile

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    ready.append((temporary, path))
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    if is_secret:  # mkstemp has made it 0600
        return
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600, whatever the user's umask says


def sync_directory(directory: Path) -> None:
    """Make a rename inside `directory` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
