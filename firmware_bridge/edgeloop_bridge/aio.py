"""The same device for asyncio: each call runs on the device's own thread, one after another.

async with await AsyncDevice.open("/dev/ttyACM0") as device:
    print(await device.stats())
    async for block in device.samples(0, period_us=1000):
        ...
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from edgeloop_bridge.device import Device
from edgeloop_bridge.inference import Inference
from edgeloop_bridge.messages import FIRST_BAUD, Hello, Slot, Stats
from edgeloop_bridge.stream import Block

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncDevice"]

T = TypeVar("T")


class AsyncDevice:
    """See `Device`, whose methods these are. Make one by `open`.

    While `samples` or `deliver` is iterated over, other calls wait for the next block or offset at most.
    """

    def __init__(self, device: Device, thread: ThreadPoolExecutor) -> None:
        self._device = device
        self._thread = thread

    @classmethod
    async def open(cls, port: str, *, baud: int = FIRST_BAUD) -> Self:
        """Open a port and greet the device on it. Raises `BridgeError`."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="edgeloop bridge")
        try:
            return cls(await _on(thread, lambda: Device.open(port, baud=baud)), thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _on(self._thread, self._device.close)
        self._thread.shutdown()

    @property
    def hello(self) -> Hello:
        """Who the device is, as it said last."""
        return self._device.hello

    async def stats(self) -> Stats:
        """See `Device.stats`."""
        return await _on(self._thread, self._device.stats)

    async def slot(self, number: int) -> Slot:
        """See `Device.slot`."""
        return await _on(self._thread, lambda: self._device.slot(number))

    async def reset(self) -> Hello:
        """See `Device.reset`."""
        return await _on(self._thread, self._device.reset)

    async def infer(self, model: bytes, given: bytes) -> Inference:
        """See `Device.infer`."""
        return await _on(self._thread, lambda: self._device.infer(model, given))

    async def activate(self, slot: int, sha256: bytes) -> Hello:
        """See `Device.activate`."""
        return await _on(self._thread, lambda: self._device.activate(slot, sha256))

    async def confirm(self, slot: int, sha256: bytes) -> None:
        """See `Device.confirm`."""
        await _on(self._thread, lambda: self._device.confirm(slot, sha256))

    async def samples(self, stream: int, period_us: int) -> AsyncIterator[Block]:
        """See `Device.samples`; switched off when the loop over it is left and the iterator closed."""
        stop = threading.Event()
        blocks = self._device.samples(stream, period_us, stop=stop)
        try:
            async for block in self._each(blocks):
                yield block
        finally:
            stop.set()
            await asyncio.shield(_on(self._thread, blocks.close))

    async def deliver(self, slot: int, image: bytes) -> AsyncIterator[int]:
        """See `Device.deliver`."""
        async for offset in self._each(self._device.deliver(slot, image)):
            yield offset

    async def _each(self, items: Iterator[T]) -> AsyncIterator[T]:
        while (item := await _on(self._thread, lambda: next(items, None))) is not None:
            yield item


async def _on(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, call)
