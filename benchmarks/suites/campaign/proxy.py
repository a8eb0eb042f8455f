"""A TCP proxy on the loopback that can do to a connection what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

__all__ = ["Proxy"]

_CHUNK_BYTES = 16 << 10


@dataclass(eq=False)
class _Pair:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    stalled: bool = False
    sever_next: bool = False
    pumps: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self) -> None:
        """End it with a reset, as a router does that has lost its table."""
        for writer in (self.client, self.broker):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Stands between clients and the broker, on a thread of its own, for as long as the context lasts."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._pairs: set[_Pair] = set()
        self._refusing = False
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES), self._loop
        ).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._call(lambda: [pair.abort() for pair in self._pairs])
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def cut(self) -> None:
        """Reset all connections and take no new ones, until `heal`."""
        self._refusing = True
        self._call(lambda: [pair.abort() for pair in self._pairs])

    def sever(self) -> None:
        """Let half of the next piece of data through on each connection, then reset it."""
        for pair in list(self._pairs):
            pair.sever_next = True

    def half_open(self) -> None:
        """Swallow whatever comes on the present connections, without ending them; the broker's side ends."""
        for pair in list(self._pairs):
            pair.stalled = True

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Hold each piece of data back for `delay_s`, and let no more than `bytes_per_s` through."""
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s

    def heal(self) -> None:
        """Take connections again, and be fast."""
        self._refusing, self._delay_s, self._bytes_per_s = False, 0.0, 0.0

    def _call(self, function: Callable[[], object]) -> None:
        done: Future[None] = Future()

        def call() -> None:
            function()
            done.set_result(None)

        self._loop.call_soon_threadsafe(call)
        done.result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                raise ConnectionError
            broker_reader, broker_writer = await asyncio.open_connection(
                "127.0.0.1", self._broker_port, limit=_CHUNK_BYTES
            )
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, broker_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(pair, reader, broker_writer, from_client=True),
                self._pump(pair, broker_reader, writer, from_client=False),
                return_exceptions=True,
            )
        finally:
            pair.abort()
            self._pairs.discard(pair)

    async def _pump(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                if pair.stalled:
                    pair.broker.transport.abort()
                    continue
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._bytes_per_s:
                    await asyncio.sleep(len(data) / self._bytes_per_s)
                if pair.sever_next and from_client:
                    writer.write(data[: max(1, len(data) // 2)])
                    await writer.drain()
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        if not pair.stalled:
            pair.abort()
