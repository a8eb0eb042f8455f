"""Sources: where inputs come from. Each is a struct of options, chosen by its `kind`, whose `open` gives an iterator.

from edgeloop.sources import Images, open_source

for item in open_source(Images("photos")):
    ...  # a SourceItem, or a SkippedItem for a photo that can't be read

What isn't there at the start is an error; what can't be read later is skipped, and never ends the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from edgeloop.sources.arrays import Arrays
from edgeloop.sources.camera import Camera
from edgeloop.sources.images import Images
from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.lines import JsonLines
from edgeloop.sources.microphone import Microphone
from edgeloop.sources.plugin import PluginSource
from edgeloop.sources.python import PythonSource
from edgeloop.sources.table import CsvRows
from edgeloop.sources.topic import Topic
from edgeloop.sources.wav import Wav

__all__ = [
    "AnySource",
    "Arrays",
    "Camera",
    "CsvRows",
    "Images",
    "Item",
    "JsonLines",
    "Microphone",
    "PluginSource",
    "PythonSource",
    "SkippedItem",
    "SourceItem",
    "Topic",
    "Wav",
    "open_source",
]

AnySource: TypeAlias = (
    Arrays | Camera | CsvRows | Images | JsonLines | Microphone | PluginSource | PythonSource | Topic | Wav
)


def open_source(source: AnySource) -> Iterator[Item]:
    """Open a source.

    Raises:
        OSError, ConfigError, DataError: what it should read isn't there, or can't be used.
        MissingExtraError: it needs a package that isn't installed.
    """
    return source.open()
