"""Sources of other packages: a kind that an entry point of the group `edgeloop.sources` names, `kind = module:Struct`.

Such a struct is one like our own: options as fields, and `open`, which gives an iterator. What it gives may also have
`close`, which may be called from another thread, and `statistics`, numbers that join the agent's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

import msgspec

from edgeloop import plugins
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
        """The source's own struct. Raises `ConfigError`, as `edgeloop.plugins.load` does."""
        return cast(_Source, plugins.load(_GROUP, "source", self.name, self.options, is_text=self.is_text))

    def open(self) -> Iterator[Item]:
        """Open it; see its package for what it raises."""
        return self.load().open()


def plugin_kinds() -> frozenset[str]:
    """The kinds that other packages bring."""
    return plugins.kinds(_GROUP)


def source_from_text(text: str) -> PluginSource | None:
    """The source in `KIND:VALUE?option=value&…`; VALUE is its first field. None where no package brings that kind.

    Raises:
        ConfigError: the options don't fit it.
    """
    name, colon, _ = text.partition(":")
    if not colon or name not in plugin_kinds():
        return None
    source = PluginSource(*plugins.options_from_text(_GROUP, "source", text), is_text=True)
    source.load()
    return source
