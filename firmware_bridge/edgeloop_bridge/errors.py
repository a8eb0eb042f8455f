"""The errors of the link to a microcontroller.

    EdgeloopError
    └── BridgeError
        ├── PortError               the port can't be opened: not there, not allowed, taken
        ├── LineLostError           it was open, and has gone: the cable was pulled
        ├── NoAnswerError           the device doesn't answer
        │   └── ForeignDeviceError  something answers, and speaks another protocol
        ├── ResetError              it was reset in the middle of something
        ├── VersionError            it speaks another version of ours
        └── RefusedError            it understood, and refuses

A message says what was wrong, where, and what to do.
"""

from __future__ import annotations

from edgeloop.errors import EdgeloopError
from edgeloop_bridge.messages import TYPES, Error, ErrorCode

__all__ = [
    "BridgeError",
    "ForeignDeviceError",
    "LineLostError",
    "NoAnswerError",
    "PortError",
    "RefusedError",
    "ResetError",
    "VersionError",
]


class BridgeError(EdgeloopError):
    """The base of all errors of the link to a microcontroller."""


class PortError(BridgeError):
    """The port can't be opened."""


class LineLostError(BridgeError):
    """The port was open, and has gone."""


class NoAnswerError(BridgeError):
    """The device doesn't answer."""


class ForeignDeviceError(NoAnswerError):
    """Bytes come, and no frame is among them."""


class ResetError(BridgeError):
    """The device was reset: what was switched on is off, and a model on trial has given way."""


class VersionError(BridgeError):
    """The device speaks another version of the protocol than we do."""


class RefusedError(BridgeError):
    """The device understood a request, and refuses it.

    Args:
        error: its answer.
    """

    def __init__(self, error: Error) -> None:
        request = TYPES[error.refused].__name__.removesuffix("Request") if error.refused in TYPES else "a request"
        hint = ": its firmware is older than this host" if error.code == ErrorCode.UNKNOWN_TYPE else ""
        super().__init__(f"the device refuses {request}: {error.text}{hint}")
        self.code = error.code
        self.text = error.text
