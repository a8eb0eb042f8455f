"""The redaction hook: your own function, asked before anything leaves the device, and before it is written to its disk.

def hide(message: Up) -> Up | None:
    if isinstance(message, SampleMessage):
        return msgspec.structs.replace(message, ref="", input=pack_array(blur(unpack_array(message.input))))
    return message
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import TypeAlias

from edgeloop.errors import ConfigError
from edgeloop.messages import Up, kind_of

__all__ = ["Redact", "load_redact", "redacted"]

log = logging.getLogger(__name__)

Redact: TypeAlias = Callable[[Up], "Up | None"]


def load_redact(call: str) -> Redact:
    """The function that `module:function` names. Raises `ConfigError`."""
    module, _, name = call.partition(":")
    try:
        function: Redact = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"redact {call!r}: {error}: write 'module:function'") from error
    return function


def redacted(redact: Redact, message: Up) -> Up | None:
    """What may leave in the place of `message`; None for nothing, and where the hook fails or gives back no message."""
    try:
        allowed = redact(message)
        if allowed is None or type(allowed) is type(message):
            return allowed
        raise TypeError(f"it gave back {type(allowed).__name__} for {type(message).__name__}")
    except Exception:  # whatever a hook raises: what couldn't be redacted may not leave
        log.exception("the redaction hook failed: a %s is kept back", kind_of(message))
        return None
