"""`edgeloop enroll`: let a device in, or shut it out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgeloop.cli import Command, Result
from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["ENROLL"]

_DAYS = 825


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("device", nargs="?", help="issue a certificate for this device; an earlier one is taken back")
    what.add_argument("--revoke", metavar="DEVICE", help="take back a device's certificates")
    what.add_argument("--init", action="store_true", help="make the authorities and Mosquitto's configuration")
    parser.add_argument("--ca", required=True, metavar="DIR", help="the authorities' folder; keep it to yourself")
    parser.add_argument(
        "--days", type=int, default=_DAYS, help="for how long a certificate holds (default: %(default)s)"
    )
    init = parser.add_argument_group("with --init")
    init.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="a name or an address of the broker; may be given several times (default: localhost, 127.0.0.1 and "
        "this machine's name)",
    )
    init.add_argument("--listen", default="0.0.0.0", metavar="ADDRESS", help="(default: %(default)s)")  # noqa: S104  # devices come from outside
    init.add_argument("--port", type=int, default=8883, help="for devices (default: %(default)s)")
    init.add_argument("--centre-port", type=int, default=8884, metavar="PORT", help="(default: %(default)s)")


def run(args: argparse.Namespace) -> Result:
    """Do what was asked."""
    import os
    from datetime import datetime, timezone
    from pathlib import Path

    from edgeloop_fleet.enroll import enroll, revoke

    now, directory = datetime.now(timezone.utc), Path(args.ca)
    passphrase = os.environ.get("EDGELOOP_CA_PASSPHRASE", "").encode() or None
    if args.init:
        return _init(args, directory, now, passphrase)
    reload = "have the broker read its files again: sudo systemctl reload mosquitto, or kill -HUP"
    if args.revoke is not None:
        count = revoke(directory, args.revoke, now=now, passphrase=passphrase)
        return Result(
            {"device": args.revoke, "revoked": count}, f"{args.revoke}: {count} certificates revoked; {reload}"
        )
    done = enroll(directory, args.device, now=now, days=args.days, passphrase=passphrase)
    files = done.files
    data = {
        "device": args.device,
        "ca": files.ca,
        "certificate": files.certificate,
        "key": files.key,
        "serial": done.serial,
        "not_after": done.not_after.isoformat(),
        "replaced": done.replaced,
    }
    text = (
        f"{args.device}: {files.certificate}, until {done.not_after:%Y-%m-%d}. Copy {Path(files.key).parent} to "
        "the device and name its files in the agent's configuration:\n\n"
        '[tls]\nca = "ca.crt"\ncertificate = "device.crt"\nkey = "device.key"'
    )
    if done.replaced:
        text += f"\n\nThe certificate that it had is revoked: {reload}"
    return Result(data, text)


def _init(args: argparse.Namespace, directory: Path, now: datetime, passphrase: bytes | None) -> Result:
    import socket

    from edgeloop_fleet.enroll import initialise

    for port in (args.port, args.centre_port):
        if not 0 < port < 1 << 16 or args.port == args.centre_port:
            raise ConfigError("--port and --centre-port: two different ports of 1 to 65535")
    hosts = args.host or list(dict.fromkeys(["localhost", "127.0.0.1", socket.gethostname()]))
    conf, files = initialise(
        directory,
        hosts,
        now=now,
        days=args.days,
        address=args.listen,
        devices_port=args.port,
        centre_port=args.centre_port,
        passphrase=passphrase,
    )
    data = {
        "configuration": str(conf),
        "hosts": hosts,
        "devices_port": args.port,
        "centre_port": args.centre_port,
        "centre": {"ca": files.ca, "certificate": files.certificate, "key": files.key},
    }
    text = (
        f"start the broker: mosquitto -c {conf}\n"
        f"devices connect to mqtts://{hosts[0]}:{args.port}\n"
        f"the centre connects to mqtts://{hosts[0]}:{args.centre_port}, with\n"
        f"  export EDGELOOP_TLS_CA={files.ca}\n"
        f"  export EDGELOOP_TLS_CERTIFICATE={files.certificate}\n"
        f"  export EDGELOOP_TLS_KEY={files.key}\n"
        f"let devices in: edgeloop enroll DEVICE --ca {args.ca}"
    )
    return Result(data, text)


ENROLL = Command("let a device in by a certificate, or shut it out", configure, run)
