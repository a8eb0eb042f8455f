"""An agent that runs on a thread, asked from outside as `edgeloop top` does; and what it has put into its outbox."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeloop.agent import Agent, AgentReport
from edgeloop.config import AgentConfig
from edgeloop.outbox import Outbox
from edgeloop.status import read_status


def wait_until(holds: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Running:
    """An agent on a thread, asked from outside as `edgeloop top` does."""

    def __init__(self, config: AgentConfig) -> None:
        self.directory = Path(config.directory)
        self.reports: list[AgentReport] = []
        self.agent = Agent(config)
        self.thread = threading.Thread(target=lambda: self.reports.append(self.agent.run(drain_s=0)))

    def status(self) -> dict:
        assert self.thread.is_alive(), "the agent has ended"
        with suppress(OSError):
            return read_status(self.directory)
        return {"stream": {"inferences": -1}}

    def answered(self) -> int:
        return self.status()["stream"]["inferences"]

    def goes_on(self) -> None:
        """Wait until it has answered more than now."""
        before = self.answered()
        wait_until(lambda: self.answered() > before + 20)


@contextmanager
def running(config: AgentConfig) -> Iterator[Running]:
    run = Running(config)
    run.thread.start()
    try:
        wait_until(lambda: run.answered() >= 0)
        yield run
    finally:
        run.agent.stop()
        run.thread.join(60)
    assert run.reports, "it did not end in order"


def outbox_events(directory: Path) -> list[dict]:
    with Outbox(directory / "outbox.sqlite") as outbox:
        rows = [json.loads(row.payload) for row in outbox.pending(limit=10_000) if row.kind == "event"]
    return [{"event": row["event"], **row["detail"]} for row in rows]
