"""Inputs from a WAV file, or from a pipe that a recorder writes one into."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.windows import sliding_windows, window_samples

__all__ = ["Wav", "WavHeader", "read_wav_header"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_DTYPES = {(_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4"}
_BLOCK_FRAMES = 1024


class Wav(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wav"):
    """Sliding windows over a WAV file: float32 (samples,), -1 … 1, several channels averaged.

    Args:
        path: the file, 16 or 32 bits PCM or 32 bits float; "-" is standard input, for
            `arecord -f S16_LE -r 16000 -t wav | edgeloop …`.
        window_s: a window's length.
        hop_s: from one window's start to the next one's; None is `window_s`.
    """

    path: str
    window_s: Annotated[float, msgspec.Meta(gt=0)]
    hop_s: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def open(self) -> Iterator[Item]:
        """Read the header; each window is named by its start in seconds.

        Raises:
            OSError: the file can't be read.
            DataError: it isn't such a WAV file.
            ConfigError: a window of less than one sample.
        """
        # No buffer of Python's: a thread that waits in one for a pipe can't be left behind when the process ends.
        path: str | int = 0 if self.path == "-" else self.path
        file = open(path, "rb", buffering=0, closefd=self.path != "-")  # noqa: SIM115  # _windows closes it
        try:
            header = read_wav_header(file, self.path)
            window, hop = window_samples(self.window_s, self.hop_s, header.rate_hz)
        except BaseException:
            file.close()
            raise
        return self._windows(file, header, window, hop)

    def _windows(self, file: BinaryIO, header: WavHeader, window: int, hop: int) -> Iterator[Item]:
        count = 0
        with file:
            for start, x in sliding_windows(_blocks(file, header), window, hop):
                count += 1
                yield SourceItem(x, f"{start / header.rate_hz:.3f} s")
        if not count:
            yield SkippedItem("shorter than a window", self.path)


@dataclass(frozen=True)
class WavHeader:
    """What a WAV file says of its samples: NumPy's `dtype`, channels, frames a second, bytes of data."""

    dtype: str
    channels: int
    rate_hz: int
    data_bytes: int


def read_wav_header(file: BinaryIO, name: str) -> WavHeader:
    """Read up to the first sample (RIFF: Microsoft and IBM, "Multimedia Programming Interface", 1991).

    Python's own `wave` knows no float samples, and wants to seek.

    Raises:
        DataError: no WAV file, or of another sample format.
    """
    riff = _read(file, 12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise DataError(f"{name}: not a WAV file")
    found: tuple[str, int, int] | None = None
    while len(head := _read(file, 8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"data" and found is not None:
            return WavHeader(*found, size)
        if kind == b"data" or size > 1 << 20:
            break
        body = _read(file, size + size % 2)
        if kind == b"fmt ":
            found = _format(body, name)
    raise DataError(f"{name}: a WAV file without samples")


def _format(body: bytes, name: str) -> tuple[str, int, int]:
    try:
        code, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
        if code == _EXTENSIBLE:
            (code,) = struct.unpack_from("<H", body, 24)
    except struct.error as error:
        raise DataError(f"{name}: a WAV file that was cut off") from error
    dtype = _DTYPES.get((code, bits))
    if dtype is None or not channels or not rate_hz:
        raise DataError(
            f"{name}: WAV of format {code}, {bits} bits, {channels} channels, {rate_hz} Hz: "
            "16 or 32 bits PCM and 32 bits float are read"
        )
    return dtype, channels, rate_hz


def _blocks(file: BinaryIO, header: WavHeader) -> Iterator[NDArray[np.float32]]:
    """The samples as a recorder or a disk gives them; a last frame that was cut off is left out."""
    dtype = np.dtype(header.dtype)
    frame_bytes, left = dtype.itemsize * header.channels, header.data_bytes
    while left > 0 and (raw := _read(file, min(left, _BLOCK_FRAMES * frame_bytes))):
        left -= len(raw)
        samples = np.frombuffer(raw[: len(raw) // frame_bytes * frame_bytes], dtype).reshape(-1, header.channels)
        x = samples.mean(axis=1, dtype=np.float64)
        yield (x / -float(np.iinfo(dtype).min) if dtype.kind == "i" else x).astype(np.float32)


def _read(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, or fewer at the end: a pipe gives less than what was asked for."""
    parts = b""
    while len(parts) < size and (part := file.read(size - len(parts))):
        parts += part
    return parts
