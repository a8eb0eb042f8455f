"""Messages that wait in memory while the disk takes none: few, since memory is what the device has least of."""

from __future__ import annotations

from edgeloop.messages import MAX_SAMPLE_BYTES, Up, encode_up

__all__ = ["Held"]

_MESSAGES = 256
_BYTES = MAX_SAMPLE_BYTES


class Held:
    """Up to 256 messages and 8 MiB. Past it those of the lowest value are lost, then the oldest."""

    def __init__(self) -> None:
        self.messages: list[tuple[Up, float | None]] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self.messages)

    def keep(self, messages: list[tuple[Up, float | None]]) -> int:
        """Keep messages, each with its value (see `Outbox.put`); give back how many were lost for it."""
        self.messages += messages
        self._sizes += [len(encode_up(message)) for message, _ in messages]
        lost = 0
        while len(self.messages) > _MESSAGES or sum(self._sizes) > _BYTES:
            worth = [(float("inf") if value is None else value) for _, value in self.messages]
            least = worth.index(min(worth))
            del self.messages[least], self._sizes[least]
            lost += 1
        return lost

    def clear(self) -> None:
        """Forget all of them: they are on disk."""
        self.messages.clear()
        self._sizes.clear()
