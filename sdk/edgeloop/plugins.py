"""What other packages bring: kinds that entry points of a group name, `kind = module:Struct`.

Such a struct is one like our own: a msgspec struct with options as fields, and `open`, whose contract is its group's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from edgeloop.errors import ConfigError

__all__ = ["kinds", "load", "options_from_text"]


def kinds(group: str) -> frozenset[str]:
    """The kinds of a group that installed packages bring."""
    return frozenset(entry.name for entry in _entries(group=group))


def load(group: str, what: str, name: str, options: dict[str, Any], *, is_text: bool = False) -> Any:
    """The struct of one kind, its fields set.

    Args:
        group: the entry points'.
        what: what such a thing is called, for messages: "source".
        name: the kind, as the entry point calls it.
        options: its fields.
        is_text: whether the options are text of a command line, numbers among them.

    Raises:
        ConfigError: nobody has registered this kind, it can't be imported, or the options don't fit it.
    """
    try:
        return msgspec.convert(options, _struct(group, what, name), strict=not is_text)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what} of kind {name!r}: {error}") from error


def options_from_text(group: str, what: str, text: str) -> tuple[str, dict[str, Any]]:
    """Kind and options of `KIND:VALUE?option=value&…`, where VALUE is the first field, or of `KIND` alone.

    Raises:
        ConfigError: nobody has registered this kind, or it can't be imported.
    """
    name, colon, rest = text.partition(":")
    value, _, query = rest.partition("?")
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if colon:
        first, *_ = msgspec.structs.fields(_struct(group, what, name))
        options = {first.encode_name: value, **options}
    return name, options


def _struct(group: str, what: str, name: str) -> Any:
    found = list(_entries(group=group, name=name))
    if not found:
        raise ConfigError(f"{what} {name!r}: no installed package brings such a {what}")
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{what} {name!r}: {error}: reinstall its package") from error


def _entries(**wanted: str) -> Any:
    from importlib.metadata import entry_points  # 1 MB that nobody needs who has no plug-ins

    return entry_points(**wanted)
