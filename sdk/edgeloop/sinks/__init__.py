"""Sinks: where predictions go. Each kind is a struct of options, whose `open` gives a `Sink`.

A sink never stops the loop: what it couldn't keep is counted in its `lost`.
"""

from __future__ import annotations

from typing import TypeAlias

from edgeloop.sinks.base import Fanout, Sink, record
from edgeloop.sinks.callback import Callback, CallbackSink
from edgeloop.sinks.jsonl import JsonLines, JsonLinesSink
from edgeloop.sinks.mqtt import Mqtt, MqttSink
from edgeloop.sinks.sqlite import Sqlite, SqliteSink

__all__ = [
    "AnySink",
    "Callback",
    "CallbackSink",
    "Fanout",
    "JsonLines",
    "JsonLinesSink",
    "Mqtt",
    "MqttSink",
    "Sink",
    "Sqlite",
    "SqliteSink",
    "record",
]

AnySink: TypeAlias = Callback | JsonLines | Mqtt | Sqlite
