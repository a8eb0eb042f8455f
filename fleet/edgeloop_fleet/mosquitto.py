"""What Mosquitto is told: who may connect, and what each may read and write. Pure text; `enroll` writes it.

There are two listeners, each with an authority of its own, since Mosquitto asks nothing but the authority before it
accepts a connection, and with it a client id: on one listener a device could take over the session of the centre by
its client id. On the devices' listener the client id is the certificate's name, whatever the client says, so that no
device ends another's session either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeloop.topics import ROOT

__all__ = ["CENTRE_USER", "Broker", "centre_acl", "devices_acl", "mosquitto_conf"]

CENTRE_USER = "centre"
"""The common name of the centre's certificates."""

_CONF = """\
# Written by `edgeloop enroll --init`, and by nobody after: yours to change.
user {user}
per_listener_settings true
persistence true
persistence_location {directory}/data/
autosave_interval 60
# A message is up to 1 MiB; what the centre can't take waits up to here, and past it the devices send again.
max_packet_size 2162688
# Without a limit (0), Mosquitto 2.0.11 hangs up on whoever publishes what the access rules deny.
max_queued_messages 10000000
max_queued_bytes 268435456
max_inflight_messages 1000
# A device that is away longer has its session forgotten; its own outbox holds what it has to say.
persistent_client_expiration 14d
log_dest stderr
log_type error
log_type warning

# The devices'.
listener {devices_port} {address}
acl_file {directory}/devices.acl
cafile {directory}/devices.crt
crlfile {directory}/devices.crl
use_username_as_clientid true
{tls}
# The centre's, and a workstation's that proves models on devices.
listener {centre_port} {address}
acl_file {directory}/centre.acl
cafile {directory}/centre.crt
crlfile {directory}/centre.crl
{tls}"""

_TLS = """\
certfile {directory}/server.crt
keyfile {directory}/server.key
require_certificate true
use_identity_as_username true
allow_anonymous false
tls_version tlsv1.2
"""

_DEVICES = f"""\
# %u is the name in the device's certificate. What isn't listed is refused.
pattern write {ROOT}/+/%u/up/+
pattern write {ROOT}/+/%u/state
pattern write {ROOT}/+/%u/job/+/reply
pattern write {ROOT}/+/%u/job/+/out/+
pattern write {ROOT}/+/%u/prediction/#
pattern read {ROOT}/+/%u/ack
pattern read {ROOT}/+/%u/desired
pattern read {ROOT}/+/%u/job
pattern read {ROOT}/+/%u/job/+/in/+
# Artifacts are the same for all, and signed.
pattern read {ROOT}/artifact/+/+
"""

_CENTRE = f"""\
# It reads all, and can't write what only a device can know.
user {CENTRE_USER}
topic read {ROOT}/#
topic write {ROOT}/+/+/ack
topic write {ROOT}/+/+/desired
topic write {ROOT}/+/+/job
topic write {ROOT}/+/+/job/+/in/+
topic write {ROOT}/artifact/+/+
"""


@dataclass(frozen=True)
class Broker:
    """The broker's settings.

    Args:
        directory: where its files are; absolute.
        user: whom it becomes when it is started by root.
        address: where it listens; "0.0.0.0" for all IPv4 networks.
        devices_port: for devices.
        centre_port: for the centre.
    """

    directory: Path
    user: str
    address: str = "0.0.0.0"  # noqa: S104  # devices come from outside, and need a certificate
    devices_port: int = 8883
    centre_port: int = 8884


def mosquitto_conf(broker: Broker) -> str:
    """The text of `mosquitto.conf` (mosquitto.conf(5), 2.0)."""
    tls = _TLS.format(directory=broker.directory)
    return _CONF.format(
        user=broker.user,
        directory=broker.directory,
        address=broker.address,
        devices_port=broker.devices_port,
        centre_port=broker.centre_port,
        tls=tls,
    )


def devices_acl(shut_out: Iterable[str] = ()) -> str:
    """Who may do what on the devices' listener.

    A revocation list is asked when a client connects, these rules at each message: so `shut_out`, the devices without
    a valid certificate, is refused on connections that stand already, too.
    """
    denied = "".join(f"\nuser {device}\ntopic deny #\n" for device in shut_out)
    return _DEVICES + denied


def centre_acl() -> str:
    """Who may do what on the centre's listener."""
    return _CENTRE
