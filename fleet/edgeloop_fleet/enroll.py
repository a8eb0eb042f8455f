"""Enrolment: which devices may connect, in one folder.

ca/devices.crt, .key       the authority of the devices; its key signs certificates and is needed nowhere else
ca/centre.crt, .key        the authority of the broker and the centre; what devices trust
ca/issued.sqlite           what was issued and taken back
ca/broker/                 all that the broker needs; no authority's key in it
ca/centre/                 the centre's own certificate
ca/devices/<device>/       what goes to the device: ca.crt, device.crt, device.key
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeloop.errors import ConfigError
from edgeloop.files import write_all_atomic
from edgeloop.tls import TlsFiles
from edgeloop.topics import check_device_name
from edgeloop_fleet.authority import Authority, Issued, create_authority, open_authority
from edgeloop_fleet.mosquitto import CENTRE_USER, Broker, centre_acl, devices_acl, mosquitto_conf

__all__ = ["Enrolled", "enroll", "initialise", "revoke"]

_RESERVED = "edgeloop-"  # the client ids of the centre's connections start so


@dataclass(frozen=True)
class Enrolled:
    """What an identity needs, and until when it holds."""

    files: TlsFiles
    serial: str
    not_after: datetime
    replaced: int


def initialise(
    directory: Path,
    hosts: Sequence[str],
    *,
    now: datetime,
    days: int,
    address: str,
    devices_port: int,
    centre_port: int,
    passphrase: bytes | None = None,
) -> tuple[Path, TlsFiles]:
    """Make both authorities, the broker's files and the centre's certificate.

    Args:
        directory: a new folder, or an empty one.
        hosts: the names and addresses under which the broker is reached.
        now: the time, aware.
        days: for how long the broker's and the centre's certificates hold.
        address: see `Broker`, as the ports.
        devices_port: see there.
        centre_port: see there.
        passphrase: what the authorities' keys are encrypted with; None for not at all.

    Returns:
        `mosquitto.conf`, and the centre's files.

    Raises:
        ConfigError: there is an authority already, or a setting that can't be.
        OSError: something couldn't be written.
    """
    if not hosts:
        raise ConfigError("the broker's certificate needs a name or an address under which clients reach it")
    directory = directory.resolve()
    if any(character.isspace() for character in str(directory)):
        raise ConfigError(f"{directory}: Mosquitto's configuration takes no path with a space: choose another folder")
    for folder in (directory, directory / "centre", directory / "devices"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    devices = create_authority(directory, "devices", now=now, passphrase=passphrase)
    centre = create_authority(directory, "centre", now=now, passphrase=passphrase)
    broker = Broker(directory / "broker", _broker_user(), address, devices_port, centre_port)
    (broker.directory / "data").mkdir(parents=True)
    server = centre.issue("broker", days=days, now=now, role="server", hosts=hosts)
    key = broker.directory / "server.key"
    files: dict[str | os.PathLike[str], bytes | str] = {
        broker.directory / "mosquitto.conf": mosquitto_conf(broker),
        broker.directory / "centre.acl": centre_acl(),
        broker.directory / "devices.crt": devices.certificate,
        broker.directory / "centre.crt": centre.certificate,
        broker.directory / "centre.crl": centre.revocation_list(now),
        broker.directory / "server.crt": server.certificate,
        key: server.key,
    }
    write_all_atomic(files, secrets=(key,))
    _tell_broker(directory, devices, now)
    if os.geteuid() == 0:
        for path in (broker.directory, broker.directory / "data", key):
            shutil.chown(path, broker.user)
    identity = centre.issue(CENTRE_USER, days=days, now=now)
    return broker.directory / "mosquitto.conf", _write_identity(
        directory / "centre", "centre", identity, directory / "centre.crt"
    )


def enroll(directory: Path, device: str, *, now: datetime, days: int, passphrase: bytes | None = None) -> Enrolled:
    """Issue a device's certificate; one that it had before is taken back, as soon as the broker reads its files again.

    Raises:
        ConfigError: no authority, a name that can't be a device's, or too many days.
        OSError: something couldn't be written.
    """
    check_device_name(device)
    if device.startswith(_RESERVED):
        raise ConfigError(f"device name {device!r}: names that start with {_RESERVED!r} are the centre's own")
    devices = open_authority(directory, "devices", passphrase=passphrase)
    is_new = not devices.knows(device)
    issued = devices.issue(device, days=days, now=now)
    folder = directory / "devices" / device
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = _write_identity(folder, "device", issued, directory / "centre.crt")
    replaced = devices.revoke(device, now=now, keep=issued.serial)
    if not is_new:  # else nothing changes for the broker, however many devices there are
        _tell_broker(directory, devices, now)
    return Enrolled(files, issued.serial, issued.not_after, replaced)


def revoke(directory: Path, device: str, *, now: datetime, passphrase: bytes | None = None) -> int:
    """Take back all of a device's certificates; how many. Effective once the broker reads its files again.

    Raises:
        ConfigError: no authority, or no certificate of this device that still holds.
        OSError: something couldn't be written.
    """
    devices = open_authority(directory, "devices", passphrase=passphrase)
    count = devices.revoke(check_device_name(device), now=now)
    if not count:
        raise ConfigError(f"{device}: no certificate of it that still holds: check the name")
    _tell_broker(directory, devices, now)
    shutil.rmtree(directory / "devices" / device, ignore_errors=True)
    return count


def _tell_broker(directory: Path, devices: Authority, now: datetime) -> None:
    broker = directory / "broker"
    write_all_atomic(
        {
            broker / "devices.acl": devices_acl(devices.shut_out(now)),
            broker / "devices.crl": devices.revocation_list(now),
        }
    )


def _write_identity(folder: Path, stem: str, identity: Issued, trusted: Path) -> TlsFiles:
    certificate, key, ca = folder / f"{stem}.crt", folder / f"{stem}.key", folder / "ca.crt"
    write_all_atomic({certificate: identity.certificate, key: identity.key, ca: trusted.read_bytes()}, secrets=(key,))
    return TlsFiles(str(ca), str(certificate), str(key))


def _broker_user() -> str:
    """Started by root, Mosquitto becomes this user before it reads its files: Debian's, where there is one."""
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam("mosquitto").pw_name
    return getpass.getuser()
