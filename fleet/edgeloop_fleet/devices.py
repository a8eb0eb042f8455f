"""Which devices there are, whether they are online, and what they run: a view of their `State` messages."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from edgeloop.messages import ModelRef, State
from edgeloop_fleet.lake import Lake

__all__ = ["Devices", "load_devices"]


class Devices:
    """The last state of each device. Safe to use from several threads."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._changed = threading.Condition()

    def update(self, state: State) -> bool:
        """Take a state in; whether it changed anything.

        A will is sent by the broker, perhaps minutes late: one of an older epoch than the last birth is stale, or of an
        older session in the same epoch.
        """
        with self._changed:
            last = self._states.get(state.device)
            if last is not None and not state.online and state.model is None:  # a will may not know what ran
                state = msgspec.structs.replace(state, model=last.model)
            if last is not None and ((state.epoch, state.session) < (last.epoch, last.session) or state == last):
                return False
            self._states[state.device] = state
            self._changed.notify_all()
            return True

    def snapshot(self) -> dict[str, State]:
        """A copy of the states, by device."""
        with self._changed:
            return dict(self._states)

    def wait(self, condition: Callable[[dict[str, State]], bool], timeout_s: float) -> bool:
        """Wait until `condition` holds of the states; False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._states), timeout_s)


def load_devices(lake: Lake) -> Devices:
    """The view as the lake's `devices` table has it. Raises `LakeError`."""
    devices = Devices()
    rows = lake.read("devices").sort_by([("epoch", "ascending"), ("ingested", "ascending")])
    for row in rows.to_pylist():
        model = None
        if row["model_name"] is not None:
            model = ModelRef(name=row["model_name"], version=row["model_version"], sha256=row["model_sha256"])
        devices.update(
            State(
                device=row["device"],
                epoch=row["epoch"],
                online=row["online"],
                time_s=row["time"].timestamp() if row["time"] else 0.0,
                model=model,
                edgeloop=row["edgeloop"],
            )
        )
    return devices
