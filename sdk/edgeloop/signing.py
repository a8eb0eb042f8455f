"""Ed25519 keys and signatures (RFC 8032), in PEM files that `openssl` reads too.

`cryptography` is imported when a key is first used: it takes 7 MB, and a device that only runs a model needs none.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "PrivateKey",
    "PublicKey",
    "Signature",
    "generate_key",
    "key_id",
    "load_private_key",
    "load_public_key",
]

PrivateKey: TypeAlias = "Ed25519PrivateKey"
PublicKey: TypeAlias = "Ed25519PublicKey"

_CONTEXT = b"edgeloop artifact manifest, format 1\0"  # a signature for one purpose is none for another


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Ed25519 signature of a manifest's bytes, and which key made it (see `key_id`)."""

    key_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
    ed25519: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]

    @classmethod
    def make(cls, key: PrivateKey, payload: bytes) -> Signature:
        """Sign `payload` with `key`."""
        return cls(key_id=key_id(key.public_key()), ed25519=key.sign(_CONTEXT + payload))

    def is_by(self, key: PublicKey, payload: bytes) -> bool:
        """Whether `key` made this signature of `payload`."""
        from cryptography.exceptions import InvalidSignature

        try:
            key.verify(self.ed25519, _CONTEXT + payload)
        except InvalidSignature:
            return False
        return True


def key_id(key: PublicKey) -> str:
    """A short name for a public key: the first 16 hex digits of the SHA-256 of its raw 32 bytes."""
    from cryptography.hazmat.primitives import serialization

    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def generate_key(private_path: str | os.PathLike[str]) -> PrivateKey:
    """Make a key pair: the private key at `private_path` (mode 0600), the public one beside it with `.pub` added.

    Raises:
        ConfigError: a file of either name exists; a key is never overwritten.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private_path = Path(private_path)
    public_path = private_path.with_name(private_path.name + ".pub")
    for path in (private_path, public_path):
        if path.exists():
            raise ConfigError(f"{path} exists: a key is never overwritten; choose another name, or move it away")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public_path.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return key


def load_private_key(path: str | os.PathLike[str]) -> PrivateKey:
    """Read an unencrypted Ed25519 private key. Raises `OSError`, or `ConfigError` for anything else in the file."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: no unencrypted PEM private key in it: make one with `edgeloop keygen`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: a private key, but not an Ed25519 one: make one with `edgeloop keygen`")
    return key


def load_public_key(path: str | os.PathLike[str]) -> PublicKey:
    """Read an Ed25519 public key. Raises `OSError`, or `ConfigError` for anything else in the file."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(Path(path).read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: no PEM public key in it: give the `.pub` file of `edgeloop keygen`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: a public key, but not an Ed25519 one")
    return key
