"""A certificate authority in a folder: issues certificates for clients and servers, and says which it takes back.

Keys are ECDSA on P-256, which small TLS stacks speak too. Each certificate has a random serial of 159 bits (CA/Browser
Forum, 7.1), says what its key may be used for (RFC 5280, 4.2.1.3 and 4.2.1.12), and an authority can neither make
another one nor vouch for a subject outside of its own organisation (4.2.1.9 and 4.2.1.10).
"""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeloop.errors import ConfigError
from edgeloop.files import write_all_atomic

__all__ = ["Authority", "Issued", "create_authority", "open_authority"]

_AUTHORITY_DAYS = 20 * 365
_EARLIER = timedelta(days=1)  # a device without a battery for its clock may be behind
_CURVE = ec.SECP256R1()
_ISSUED = """\
CREATE TABLE IF NOT EXISTS issued (
    serial TEXT PRIMARY KEY, authority TEXT NOT NULL, name TEXT NOT NULL, not_after TEXT NOT NULL, revoked TEXT
);
CREATE INDEX IF NOT EXISTS by_name ON issued (authority, name)"""


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, as PEM."""

    serial: str
    certificate: bytes
    key: bytes
    not_after: datetime


class Authority:
    """See `create_authority` and `open_authority`.

    Args:
        directory: where its files are: `<name>.crt`, `<name>.key`, and `issued.sqlite` for all authorities there.
        name: its name.
        certificate: its own.
        key: its private key.
    """

    def __init__(
        self, directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self.name = name
        self._directory, self._certificate, self._key = directory, certificate, key

    @property
    def certificate(self) -> bytes:
        """Its own certificate as PEM: what the other side trusts."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        days: int,
        now: datetime,
        role: Literal["client", "server"] = "client",
        hosts: Sequence[str] = (),
    ) -> Issued:
        """A new key, and a certificate for it.

        Args:
            name: the subject's common name.
            days: for how long it is valid.
            now: from when on (a day earlier), aware.
            role: which side of a connection it may stand for.
            hosts: of a server: the names and addresses under which clients reach it.

        Raises:
            ConfigError: it would outlive the authority.
            OSError, sqlite3.Error: it couldn't be recorded; then nobody gets it.
        """
        key = ec.generate_private_key(_CURVE)
        not_after = now + timedelta(days=days)
        if days < 1 or not_after > self._certificate.not_valid_after_utc:
            until = self._certificate.not_valid_after_utc
            raise ConfigError(f"{days} days: give 1 or more, and not past the authority's own end ({until:%Y-%m-%d})")
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if role == "client" else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(_subject(self.name, name), self._certificate.subject, key.public_key(), now, not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        serial = f"{certificate.serial_number:040x}"
        with self._registry() as registry:
            registry.execute(
                "INSERT INTO issued VALUES (?, ?, ?, ?, NULL)", (serial, self.name, name, not_after.isoformat())
            )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Issued(serial, pem, _key_pem(key), not_after)

    def revoke(self, name: str, *, now: datetime, keep: str = "") -> int:
        """Take back all certificates of `name` but the one with the serial `keep`; how many were still good."""
        with self._registry() as registry:
            return registry.execute(
                "UPDATE issued SET revoked = ? WHERE authority = ? AND name = ? AND serial != ? AND revoked IS NULL",
                (now.isoformat(), self.name, name, keep),
            ).rowcount

    def knows(self, name: str) -> bool:
        """Whether it has ever issued a certificate of this name."""
        query = "SELECT EXISTS (SELECT 1 FROM issued WHERE authority = ? AND name = ?)"
        with self._registry() as registry:
            return bool(registry.execute(query, (self.name, name)).fetchone()[0])

    def shut_out(self, now: datetime) -> list[str]:
        """The names that had a certificate and have none any more that holds."""
        with self._registry() as registry:
            rows = registry.execute(
                "SELECT name FROM issued WHERE authority = ? GROUP BY name "
                "HAVING sum(revoked IS NULL AND not_after > ?) = 0 ORDER BY name",
                (self.name, now.isoformat()),
            ).fetchall()
        return [name for (name,) in rows]

    def revocation_list(self, now: datetime) -> bytes:
        """The certificates that are taken back and not expired, as a CRL in PEM (RFC 5280, 5).

        It is valid for as long as the authority: the broker, which lies beside, refuses everybody once it is not.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _EARLIER)
            .next_update(self._certificate.not_valid_after_utc)
        )
        with self._registry() as registry:
            rows = registry.execute(
                "SELECT serial, revoked FROM issued WHERE authority = ? AND revoked IS NOT NULL AND not_after > ?",
                (self.name, now.isoformat()),
            ).fetchall()
        for serial, revoked in rows:
            entry = x509.RevokedCertificateBuilder(int(serial, 16), datetime.fromisoformat(revoked))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @contextmanager
    def _registry(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._directory / "issued.sqlite", timeout=30)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_ISSUED)
            yield connection


def create_authority(directory: Path, name: str, *, now: datetime, passphrase: bytes | None = None) -> Authority:
    """A new authority; its private key is readable by its owner alone, and encrypted where there is a passphrase.

    Raises:
        ConfigError: there is one of this name already; it is never overwritten.
        OSError: it couldn't be written.
    """
    certificate_path, key_path = _paths(directory, name)
    for path in (certificate_path, key_path):
        if path.exists():
            raise ConfigError(f"{path} exists: an authority is never overwritten: choose another folder")
    key = ec.generate_private_key(_CURVE)
    subject = _subject(name, f"edgeloop authority for the {name}")
    own = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _organisation(name))]))
    certificate = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=[own], excluded_subtrees=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = Authority(directory, name, certificate, key)
    write_all_atomic(
        {certificate_path: authority.certificate, key_path: _key_pem(key, passphrase)}, secrets=(key_path,)
    )
    return authority


def open_authority(directory: Path, name: str, *, passphrase: bytes | None = None) -> Authority:
    """The authority that `create_authority` made.

    Raises:
        ConfigError: there is none, or its key can't be read with this passphrase.
        OSError: a file can't be read.
    """
    certificate_path, key_path = _paths(directory, name)
    if not certificate_path.exists():
        raise ConfigError(f"{directory}: no authority in it: make one with `edgeloop enroll --init --ca {directory}`")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), passphrase)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key_path}: {error}: is EDGELOOP_CA_PASSPHRASE what it was when it was made?") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_path}: not the key of {certificate_path}")
    return Authority(directory, name, certificate, key)


def _paths(directory: Path, name: str) -> tuple[Path, Path]:
    return directory / f"{name}.crt", directory / f"{name}.key"


def _organisation(authority: str) -> str:
    return f"edgeloop {authority}"


def _subject(authority: str, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _organisation(authority)),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
