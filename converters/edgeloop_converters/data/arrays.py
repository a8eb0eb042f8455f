"""Reading `.npy` and `.npz` files that may be damaged or hostile: no pickles, and sizes are checked first."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.data.dataset import Array

__all__ = ["read_npy", "read_npz"]

# What numpy's writer itself would never exceed for plain dtypes; read_array_header refuses more.
MAX_HEADER_BYTES = 10_000


def read_npy(path: Path, *, max_bytes: int) -> Array:
    """The array in a `.npy` file.

    Raises:
        DataError: not an npy file, pickled objects, cut off, or larger than `max_bytes`.
    """
    with path.open("rb") as file:
        return read_stream(file, path.stat().st_size, str(path), max_bytes)


def read_npz(path: Path, *, keys: frozenset[str] | None = None, max_bytes: int) -> dict[str, Array]:
    """The arrays in a `.npz` file by name; only those in `keys` when given.

    Raises:
        DataError: not a ZIP, damaged, encrypted, pickled objects, or larger than `max_bytes` in all.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            members = [m for m in members if keys is None or m.filename[:-4] in keys]
            total = sum(m.file_size for m in members)
            if total > max_bytes:
                raise DataError(f"{path}: its arrays take {total:,} bytes, more than the limit of {max_bytes:,}")
            for member in members:
                with archive.open(member) as file:
                    where = f"{path} ({member.filename[:-4]})"
                    arrays[member.filename[:-4]] = read_stream(file, member.file_size, where, max_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: can't be read as .npz ({error}); is it damaged or cut off?") from error
    return arrays


def npz_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in a `.npz` file, without reading them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(n[:-4] for n in archive.namelist() if n.endswith(".npy"))
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: can't be read as .npz ({error}); is it damaged or cut off?") from error


def read_stream(file: IO[bytes], size_bytes: int, where: str, max_bytes: int) -> Array:
    """One array from an open npy stream of `size_bytes`, whose header is believed only when it fits."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise DataError(f"{where}: npy version {version} isn't supported; save it again as plain numbers")
        shape, fortran, dtype = read_header(file, max_header_size=MAX_HEADER_BYTES)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: not a readable .npy array ({error})") from error
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled Python objects, which are never loaded (they can run code); save plain "
            "arrays: np.savez(..., x=np.stack(x))"
        )
    if dtype.fields is not None or dtype.kind not in "biufUSMm":
        raise DataError(f"{where}: dtype {dtype} isn't supported; save numbers or strings")
    declared, held = math.prod(shape) * dtype.itemsize, size_bytes - file.tell()
    if declared != held:
        raise DataError(f"{where}: declares {shape} {dtype}, {declared:,} bytes, but holds {held:,}; is it cut off?")
    if declared > max_bytes:
        raise DataError(f"{where}: takes {declared:,} bytes, more than the limit of {max_bytes:,}")
    flat = np.frombuffer(file.read(declared), dtype) if declared else np.empty(0, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
