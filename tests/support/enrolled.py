"""A Mosquitto with the configuration that `edgeloop enroll` has written, and clients with certificates."""

from __future__ import annotations

import queue
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from brokers import free_port, start_mosquitto
from edgeloop.tls import TlsFiles, tls_context
from edgeloop_fleet.enroll import enroll, initialise


def now() -> datetime:
    return datetime.now(timezone.utc)


class EnrolledBroker:
    """The authorities' folder, and the broker that is told by it."""

    def __init__(self, directory: Path) -> None:
        self.ca = directory / "ca"
        self.port, self.centre_port = free_port(), free_port()
        self.conf, self.centre = initialise(
            self.ca,
            ["localhost", "127.0.0.1"],
            now=now(),
            days=30,
            address="127.0.0.1",
            devices_port=self.port,
            centre_port=self.centre_port,
        )
        # Mosquitto may run as a user of its own, who must come up to its files.
        self.ca.chmod(0o711)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.port}"

    @property
    def centre_url(self) -> str:
        return f"mqtts://localhost:{self.centre_port}"

    def device(self, name: str) -> TlsFiles:
        return enroll(self.ca, name, now=now(), days=30).files

    def start(self) -> None:
        self._process = start_mosquitto(self.conf, self.port)

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        time.sleep(0.5)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@contextmanager
def enrolled_broker() -> Iterator[EnrolledBroker]:
    # Not pytest's folder, into which only the user of the tests may look.
    directory = Path(tempfile.mkdtemp(prefix="edgeloop-ca-"))
    directory.chmod(0o711)
    broker = EnrolledBroker(directory)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(directory)


class Client:
    """A client that shares no code with ours; `refused` is why the broker didn't take it."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | TlsFiles,
        client_id: str = "x",
        *,
        user: str | None = None,
        clean: bool = True,
        will: str | None = None,
    ) -> None:
        self.refused = ""
        self.lost = False
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._connected: queue.Queue[str] = queue.Queue()
        self._answers: queue.Queue[tuple[int, bool]] = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.client.tls_set_context(context if isinstance(context, ssl.SSLContext) else tls_context(context))
        if user is not None:
            self.client.username_pw_set(user, "secret")
        if will is not None:
            self.client.will_set(will, b"gone", 1, retain=True)
        self._port, self._clean = port, clean
        self.client.on_connect = lambda _c, _d, _f, reason, _p: self._connected.put(
            str(reason) if reason.is_failure else ""
        )
        self.client.on_disconnect = self._disconnected
        self.client.on_publish = lambda _c, _d, mid, reason, _p: self._answers.put((mid, not reason.is_failure))
        self.client.on_subscribe = lambda _c, _d, mid, _r, _p: self._answers.put((mid, True))
        self.client.on_message = lambda _c, _d, m: self.messages.put((m.topic, m.payload))

    def __enter__(self) -> Client:  # nobody derives from it
        try:
            self.client.connect("localhost", self._port, keepalive=5, clean_start=self._clean)
        except OSError as error:
            self.refused = str(error)
            return self
        self.client.loop_start()
        self.refused = self._connected.get(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def writable(self, topics: Sequence[str]) -> list[str]:
        """Those of `topics` that the broker lets us write."""
        return [topic for topic in topics if self.may_write(topic)]

    def may_write(self, topic: str, payload: bytes = b"x") -> bool:
        # One at a time: Mosquitto 2.0.11 hangs up after each refusal where `max_queued_messages` is 0, and paho comes
        # back after a second. What was sent behind a refused message is lost until then.
        self.client.publish(topic, payload, 1)
        return self._answers.get(timeout=30)[1]

    def listen(self, *topics: str) -> None:
        self.client.subscribe([(topic, 1) for topic in topics])
        self._answers.get(timeout=5)

    def hears(self, topic: str, writer: Client, to: str = "") -> bool:
        """Whether what `writer` may write on a topic comes through a subscription to `topic`."""
        self.listen(topic)
        assert writer.may_write(to or topic)
        try:
            return bool(self.messages.get(timeout=0.5))
        except queue.Empty:
            return False

    def die(self) -> None:
        """Vanish, as when the power goes."""
        self.client.loop_stop()
        sock = self.client.socket()
        assert sock is not None
        sock.close()

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.lost = True
        self._connected.put(str(reason) or "disconnected")
