"""Sources of other packages: a kind that an entry point of the group `edgeloop.sources` names, `kind = module:Struct`.

Such a struct is one like our own: options as fields, and `open`, which gives an iterator. What it gives may also have
`close`, which may be called from another thread, and `statistics`, numbers that join the agent's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.sources.item import Item

__all__ = ["PluginSource", "plugin_kinds", "source_from_text"]

_GROUP = "edgeloop.sources"


class _Source(Protocol):
    def open(self) -> Iterator[Item]: ...


class PluginSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="plugin"):
    """A source of another package.

    Args:
        name: the kind, as the entry point calls it.
        options: its fields.
        is_text: whether the options are text of a command line, numbers among them.
    """

    name: str
    options: dict[str, Any] = {}
    is_text: bool = False

    def load(self) -> _Source:
        """The source's own struct.

        Raises:
            ConfigError: nobody has registered this kind, or the options don't fit it.
        """
        found = entry_points(group=_GROUP, name=self.name)
        if not found:
            raise ConfigError(f"source.kind {self.name!r}: no installed package brings such a source")
        try:
            kind: type[_Source] = next(iter(found)).load()
            return msgspec.convert(self.options, kind, strict=not self.is_text)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"source.kind {self.name!r}: {error}: reinstall its package") from error
        except msgspec.ValidationError as error:
            raise ConfigError(f"source of kind {self.name!r}: {error}") from error

    def open(self) -> Iterator[Item]:
        """Open it; see its package for what it raises."""
        return self.load().open()


def plugin_kinds() -> frozenset[str]:
    """The kinds that other packages bring."""
    return frozenset(entry.name for entry in entry_points(group=_GROUP))


def source_from_text(text: str) -> PluginSource | None:
    """The source in `KIND:VALUE?option=value&…`; VALUE is its first field. None where no package brings that kind.

    Raises:
        ConfigError: the options don't fit it.
    """
    name, colon, rest = text.partition(":")
    if not colon or name not in plugin_kinds():
        return None
    value, _, query = rest.partition("?")
    kind = next(iter(entry_points(group=_GROUP, name=name))).load()
    first = msgspec.structs.fields(kind)[0].encode_name
    source = PluginSource(name, {first: value, **dict(parse_qsl(query, keep_blank_values=True))}, is_text=True)
    source.load()
    return source
