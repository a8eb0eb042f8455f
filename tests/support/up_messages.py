"""Messages of the device `d`, for outbox and uplink."""

from __future__ import annotations

import numpy as np

from edgeloop.messages import EventMessage, ModelRef, ProfileMessage, SampleMessage, pack_array
from edgeloop.profile import pack_counts

DEVICE = "d"
MODEL = ModelRef("m", 1, "a" * 64)


def event(word: str = "x", text: str = "") -> EventMessage:
    return EventMessage(device=DEVICE, time_s=1.0, event=word, detail={"text": text})


def sample(value: int = 0, size: int = 1000) -> SampleMessage:
    noise = np.random.default_rng(value).integers(0, 256, size, dtype=np.uint8)
    output = pack_array(np.zeros(2, dtype=np.float32))
    return SampleMessage(
        device=DEVICE,
        time_s=1,
        model=MODEL,
        ref="",
        reason="novel",
        probability=1,
        input=pack_array(noise),
        output=output,
    )


def profile(minute: int, n: int = 10, model: ModelRef = MODEL) -> ProfileMessage:
    counts = pack_counts(np.full(200, n, dtype=np.int64))
    return ProfileMessage(
        device=DEVICE, time_s=0, model=model, start_s=60.0 * minute, end_s=60.0 * minute + 60, n=n, counts=counts
    )
