"""A page in headless Chromium, driven over its debugging pipe: how long it takes to load, how it looks, what it does.

Without network, with real time (`tests/support/browser.py` has time run as fast as it can, and sees only the end).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Tab", "chromium", "find_chromium"]

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
_TIMEOUT_S = 120.0


def find_chromium() -> str | None:
    """Where it is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Tab:
    """One page; `said` are the lines on its console, and its errors."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        self.said: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol, and its result.

        Raises:
            RuntimeError: the browser refuses it.
            TimeoutError: no answer in two minutes.
        """
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        line = json.dumps(message).encode() + b"\0"
        while line:
            line = line[os.write(self._to, line) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> float:
        """Load a page; gives the seconds from asking for it to its `load`."""
        self.resize(width, height)
        self.media("screen", dark=dark)
        self._events.clear()
        self.said.clear()
        start = time.perf_counter()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._next()
        return time.perf_counter() - start

    def resize(self, width: int, height: int) -> None:
        """The window, in CSS pixels; a narrow one is a phone's."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def media(self, kind: str, *, dark: bool = False) -> None:
        """On "screen" or on "print", light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def evaluate(self, code: str) -> Any:
        """What an expression is in the page; a promise is waited for.

        Raises:
            RuntimeError: it threw.
        """
        done = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{code}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def screenshot(self, *, whole: bool = True) -> bytes:
        """A PNG of the page, or of the window."""
        clip = {}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
        done = self.ask("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
        return base64.b64decode(done["data"])

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        done = self.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(done["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], _TIMEOUT_S)[0]:
                raise TimeoutError(f"Chromium has said nothing for {_TIMEOUT_S:.0f} s")
            found = os.read(self._from, 1 << 20)
            if not found:
                raise RuntimeError("Chromium has ended")
            self._buffer += found
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
            self._listen(message)
        return message

    def _listen(self, event: dict[str, Any]) -> None:
        parameters = event["params"]
        if event["method"] == "Runtime.consoleAPICalled":
            words = (str(a.get("value", a.get("description"))) for a in parameters["args"])
            self.said.append(" ".join(words))
        elif event["method"] == "Runtime.exceptionThrown":
            self.said.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif event["method"] == "Log.entryAdded":
            self.said.append(parameters["entry"]["text"])


@contextlib.contextmanager
def chromium(binary: str) -> Iterator[Tab]:
    """A browser with one tab and a profile of its own; it ends with the block."""
    its_in, to_browser = _pipe()
    from_browser, its_out = _pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = os.posix_spawn(
            binary,
            [binary, *_QUIET, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, its_in, 3),
                (os.POSIX_SPAWN_DUP2, its_out, 4),
            ],
            setpgroup=0,
        )
        os.close(its_in)
        os.close(its_out)
        try:
            yield Tab(to_browser, from_browser)
        finally:
            os.close(to_browser)
            _end(process)
            os.close(from_browser)


def _pipe() -> tuple[int, int]:
    """Ends that are none of the numbers that the browser's will have."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _end(process: int) -> None:
    """A browser whose pipe is closed ends by itself; one that doesn't is killed, with its children."""
    for _ in range(100):
        if os.waitpid(process, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    else:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
