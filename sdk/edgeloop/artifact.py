"""The artifact: one valid `.tflite` that carries its manifest in a ZIP appended to the flatbuffer.

Any interpreter loads the file unchanged, since a flatbuffer is read from its front; `unzip -l` lists it, since a ZIP
is read from its end (the TFLite metadata convention). What stands in it:

    flatbuffer | edgeloop/manifest.json | edgeloop/signature.json (optional) | ZIP directory

The manifest holds the flatbuffer's SHA-256 and the signature covers the manifest. The ZIP is written in one way only
and read by writing it again, so that there is no byte in the file that nothing checks.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from edgeloop.errors import (
    ArtifactError,
    ExpiredError,
    ForeignZipError,
    ManifestDamagedError,
    ModelDamagedError,
    NoManifestError,
    NotTfliteError,
    OlderVersionError,
    SignatureError,
    TruncatedError,
)
from edgeloop.files import write_atomic
from edgeloop.flatbuffer import extent, is_tflite
from edgeloop.manifest import Manifest, ModelFile, decode_manifest, encode_manifest
from edgeloop.signing import PrivateKey, PublicKey, Signature, key_id

__all__ = [
    "MAX_ARTIFACT_BYTES",
    "Artifact",
    "check_tflite",
    "pack_artifact",
    "read_artifact",
    "write_artifact",
]

MAX_ARTIFACT_BYTES = 1 << 30
_MAX_MANIFEST_BYTES = 4 << 20

_MANIFEST = "edgeloop/manifest.json"
_SIGNATURE = "edgeloop/signature.json"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes, whenever it was written


@dataclass(frozen=True)
class Artifact:
    """A read artifact, its model's hash checked.

    Args:
        model: the flatbuffer alone, for an interpreter.
        manifest: what it says of itself.
        raw_manifest: the manifest's bytes as they stand in the file: these are signed.
        signature: of `raw_manifest`, or None.
        source: the path or name that it was read from, for messages.
    """

    model: bytes
    manifest: Manifest
    raw_manifest: bytes
    signature: Signature | None
    source: str

    @property
    def size_bytes(self) -> int:
        """The whole file's size."""
        return len(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The whole file, byte for byte as it was read."""
        return self.model + _zip(len(self.model), self.raw_manifest, self.signature)

    def sign(self, key: PrivateKey) -> Artifact:
        """The same artifact, signed with `key` (an earlier signature is replaced)."""
        return Artifact(
            self.model, self.manifest, self.raw_manifest, Signature.make(key, self.raw_manifest), self.source
        )

    def verify(
        self, trusted: Sequence[PublicKey], *, newer_than: int | None = None, now: datetime | None = None
    ) -> None:
        """Check that the artifact may run: signed by a trusted key, not older, not expired.

        Args:
            trusted: the keys that are trusted; one of them must have signed it.
            newer_than: the version that is running: only a higher one may replace it.
            now: an aware time to hold the expiry against; None does not check it (a device may not know the time).

        Raises:
            SignatureError: no signature, one by a key that isn't trusted, or one that isn't of this manifest.
            OlderVersionError: its version is not above `newer_than`.
            ExpiredError: `now` is past its expiry.
        """
        self._verify_signature(trusted)
        version = self.manifest.version
        if newer_than is not None and version <= newer_than:
            raise OlderVersionError(
                f"{self.source}: version {version} of {self.manifest.name!r} is not newer than version {newer_than}, "
                "which is running: to go back, package the old model with a new version"
            )
        if now is not None and self.manifest.is_expired(now):
            raise ExpiredError(f"{self.source}: expired at {self.manifest.expires}: deploy a newer artifact")

    def _verify_signature(self, trusted: Sequence[PublicKey]) -> None:
        if self.signature is None:
            raise SignatureError(f"{self.source}: not signed: sign it with `edgeloop sign --key KEY`")
        for key in trusted:
            if key_id(key) == self.signature.key_id:
                if self.signature.is_by(key, self.raw_manifest):
                    return
                raise SignatureError(
                    f"{self.source}: its signature is not of this manifest: it was altered after signing"
                )
        known = ", ".join(key_id(k) for k in trusted) or "none"
        raise SignatureError(
            f"{self.source}: signed by key {self.signature.key_id}, which isn't trusted here (trusted: {known})"
        )


def pack_artifact(model: bytes, manifest: Manifest, *, key: PrivateKey | None = None, source: str = "") -> Artifact:
    """Join a `.tflite` model and its manifest; `manifest.model` is set from the model's bytes.

    Args:
        model: a TFLite flatbuffer. A manifest of edgeloop's that is appended to it is dropped.
        manifest: what to say of it.
        key: signs it; None leaves it unsigned.
        source: the name for messages.

    Raises:
        NotTfliteError, TruncatedError: `model` is not a whole TFLite model.
        ManifestDamagedError: the manifest wouldn't read back, or is past 4 MiB.
    """
    model = _split(model)[0]
    check_tflite(model, source or manifest.name)
    file = ModelFile(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model))
    manifest = msgspec.structs.replace(manifest, model=file)
    raw = encode_manifest(manifest)
    if len(raw) > _MAX_MANIFEST_BYTES:
        raise ManifestDamagedError(f"{source or manifest.name}: a manifest of {len(raw)} bytes is past 4 MiB")
    manifest = decode_manifest(raw, source or manifest.name)
    artifact = Artifact(model, manifest, raw, None, source or manifest.name)
    return artifact if key is None else artifact.sign(key)


def write_artifact(path: str | os.PathLike[str], artifact: Artifact) -> None:
    """Write an artifact so that `path` holds the old file or the new one at any moment. Raises `OSError`."""
    write_atomic(path, artifact.to_bytes())


def read_artifact(source: str | os.PathLike[str] | bytes, *, name: str = "artifact") -> Artifact:
    """Read an artifact and check the model's hash. Nothing is trusted yet: see `Artifact.verify`.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in messages where `source` is bytes.

    Raises:
        OSError: the file can't be read.
        ArtifactError: a subclass says what is wrong with it; see `edgeloop.errors`.
    """
    if isinstance(source, bytes):
        data = source
    else:
        name = os.fspath(source)
        size = Path(source).stat().st_size
        if size > MAX_ARTIFACT_BYTES:
            raise ArtifactError(f"{name}: {size} bytes are past the limit of {MAX_ARTIFACT_BYTES}")
        data = Path(source).read_bytes()
    try:
        model, entries = _split(data)
    except zipfile.BadZipFile as error:
        raise ManifestDamagedError(f"{name}: its manifest is damaged ({error}): fetch the file again") from error
    if _MANIFEST not in entries:
        raise _without_manifest(data, entries, name)
    return _checked(data, model, entries, name)


def check_tflite(model: bytes, name: str) -> None:
    """Raise `NotTfliteError` or `TruncatedError` where `model` isn't a whole TFLite flatbuffer; a ZIP may follow it."""
    if not is_tflite(model):
        start = model[:8]
        what = "a ZIP" if start[:2] == b"PK" else "an HDF5 file" if start[1:4] == b"HDF" else "something else"
        raise NotTfliteError(f"{name}: not a TFLite model: it is {what}, of {len(model)} bytes, starting {start!r}")
    needed = extent(model)
    if needed > len(model):
        raise TruncatedError(
            f"{name}: cut off: it has {len(model)} bytes and its tables reach to byte {needed}: fetch it again"
        )


def _split(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer and the appended ZIP's entries. Raises `BadZipFile` for a damaged ZIP that names the manifest."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return data, {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if not any(i.filename == _MANIFEST for i in infos):
                return data, {i.filename: b"" for i in infos}
            if sum(i.file_size for i in infos) > _MAX_MANIFEST_BYTES + 4096:
                raise zipfile.BadZipFile("larger than a manifest may be")
            # Whoever decompresses what isn't compressed meets errors of each method's own.
            if any(i.compress_type != zipfile.ZIP_STORED for i in infos):
                raise zipfile.BadZipFile("compressed, which it isn't by edgeloop: rewritten")
            return data[: min(i.header_offset for i in infos)], {i.filename: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        # RuntimeError and NotImplementedError: a flipped flag says "encrypted".
        raise zipfile.BadZipFile(str(error)) from error


def _checked(data: bytes, model: bytes, entries: dict[str, bytes], name: str) -> Artifact:
    raw_manifest = entries[_MANIFEST]
    manifest = decode_manifest(raw_manifest, name)
    signature = None
    if _SIGNATURE in entries:
        try:
            signature = msgspec.json.decode(entries[_SIGNATURE], type=Signature)
        except msgspec.DecodeError as error:
            raise ManifestDamagedError(f"{name}: its signature doesn't validate: {error}") from error
    if len(model) != manifest.model.size_bytes or hashlib.sha256(model).hexdigest() != manifest.model.sha256:
        raise ModelDamagedError(
            f"{name}: the model's bytes don't match the SHA-256 in its manifest: damaged or exchanged; fetch it again"
        )
    artifact = Artifact(model, manifest, raw_manifest, signature, name)
    if artifact.to_bytes() != data:
        raise ManifestDamagedError(
            f"{name}: the ZIP that holds its manifest is damaged or was rewritten: fetch it again"
        )
    return artifact


def _without_manifest(data: bytes, entries: dict[str, bytes], name: str) -> ArtifactError:
    damaged = ManifestDamagedError(f"{name}: the directory of the ZIP with its manifest is damaged: fetch it again")
    if entries:
        if _MANIFEST.encode() in data:  # one of the two places that name it, and not the other
            return damaged
        listed = ", ".join(sorted(entries)[:3])
        return ForeignZipError(f"{name}: carries a ZIP that edgeloop didn't write ({listed}), and no {_MANIFEST}")
    start = data.find(_MANIFEST.encode())
    start = start - _LOCAL_HEADER.size if start >= 0 else -1
    if start > 0:
        if len(data) < start + _zip_size(data[start:]):
            return TruncatedError(f"{name}: cut off in its manifest, at byte {len(data)}: fetch it again")
        return damaged
    try:
        check_tflite(data, name)
    except ArtifactError as error:
        return error
    return NoManifestError(
        f"{name}: a plain .tflite, or an artifact cut off before its manifest: package it with `edgeloop convert`"
    )


def _zip_size(data: bytes) -> int:
    """How long the ZIP that starts here must be, as far as its local headers tell."""
    position, size = 0, 22
    while data[position : position + 4] == b"PK\x03\x04" and position + _LOCAL_HEADER.size <= len(data):
        fields = _LOCAL_HEADER.unpack_from(data, position)
        stored, name_length, extra = fields[7], fields[9], fields[10]
        position += _LOCAL_HEADER.size + name_length + extra + stored
        size += 46 + name_length
    return position + size


def _zip(offset: int, raw_manifest: bytes, signature: Signature | None) -> bytes:
    """The ZIP to append at `offset`: its directory counts from the file's start, as `unzip` wants it."""
    buffer = _Shifted(offset)
    entries = {_MANIFEST: raw_manifest}
    if signature is not None:
        entries[_SIGNATURE] = msgspec.json.encode(signature)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for entry_name, content in entries.items():
            info = zipfile.ZipInfo(entry_name, _NO_DATE)
            info.create_system = 3  # Unix, wherever it was written
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


class _Shifted(io.BytesIO):
    """A buffer that counts positions from `shift`: the ZIP's directory comes out right without the model before it."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self._shift = shift

    def tell(self) -> int:
        return super().tell() + self._shift

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(position - self._shift if whence == os.SEEK_SET else position, whence) + self._shift
