"""One open device for each port of this process, however many use it: a source for samples, a backend for its model.

A port can be opened once only, so what is open has to be found by all of a process; this is the one table that the
package keeps. A device is closed when the last one who leased it gives it back.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop_bridge.device import Device
from edgeloop_bridge.transport import identity

__all__ = ["Lease", "lease_device"]

_SHORT_PATIENCE_S = 0.5  # once it is open: nothing may hang because of a device that went away


@dataclass
class _Shared:
    device: Device
    baud: int
    users: int = 0


_table = threading.RLock()  # a lease may be given back by the garbage collector, and so within `lease_device`
_shared: dict[str, _Shared] = {}


class Lease:
    """The right to use a device until `close`; see `lease_device`.

    Attributes:
        device: several threads may use it.
        port: as it was asked for.
    """

    def __init__(self, key: str, port: str, device: Device) -> None:
        self.device = device
        self.port = port
        self._key: str | None = key

    def close(self) -> None:
        """Give it back; the last one closes the port. A second call does nothing."""
        with _table:
            key, self._key = self._key, None
            if key is None:
                return
            shared = _shared[key]
            shared.users -= 1
            if shared.users:
                return
            del _shared[key]
            shared.device.close()


def lease_device(port: str, *, baud: int) -> Lease:
    """The device on a port, opened where nobody in this process has it open yet.

    Args:
        port: see `edgeloop_bridge.transport`; the same USB device is the same one by its path and by its serial number.
        baud: to raise the line's rate to; the same for all who share it.

    Raises:
        BridgeError: it can't be opened, or no device answers there.
        ConfigError: it is open here at another rate.
        MissingExtraError: pyserial isn't installed.
    """
    try:
        import serial  # noqa: F401  # SerialLine does
    except ImportError as error:
        raise MissingExtraError("bridge", "serial") from error
    key = identity(port)
    with _table:
        shared = _shared.get(key)
        if shared is None:
            shared = _Shared(Device.open(port, baud=baud), baud)
            shared.device.link.patience_s = _SHORT_PATIENCE_S
            _shared[key] = shared
        elif shared.baud != baud:
            raise ConfigError(
                f"{port}: baud is {baud} here, and {shared.baud} where this process has it open: "
                "give its source and its backend the same"
            )
        shared.users += 1
        return Lease(key, port, shared.device)
