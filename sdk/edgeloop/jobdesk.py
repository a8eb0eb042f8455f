"""The agent's desk for jobs: takes one at a time where the configuration allows it, in a process of its own.

Nothing of a job runs in the agent: a model that crashes its interpreter, or never ends, takes only that process along.
It has a low priority, so that what the device is there for goes first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from edgeloop.artifact import read_artifact
from edgeloop.errors import EdgeloopError, MessageError
from edgeloop.messages import BlobRef, JobOffer, JobReply, encode
from edgeloop.signing import PublicKey
from edgeloop.topics import DeviceTopics
from edgeloop.updates import ChunkCollector

if TYPE_CHECKING:
    import subprocess

    from edgeloop.link import Link

__all__ = ["CHUNK_BYTES", "JobDesk", "JobsConfig", "blob_ref", "last_line", "split"]

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 << 10
_LOW_PRIORITY = 10
_COLLECT_S = 120.0


class JobsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether, and up to what, the agent takes jobs over MQTT.

    Args:
        allow: whether it does at all.
        max_bytes: of a job (the artifact and its inputs), and of its answer.
        timeout_s: how long it may run.
    """

    allow: bool = False
    max_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 64 << 20
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0


class JobDesk:
    """Takes offers, collects jobs, has them done, and answers.

    Args:
        config: what is allowed.
        topics: the device's.
        trusted: the keys of which one must have signed a job's artifact.
    """

    def __init__(self, config: JobsConfig, topics: DeviceTopics, trusted: Sequence[PublicKey]) -> None:
        self._config, self._topics, self._trusted = config, topics, trusted
        self._lock = threading.Lock()
        self._current = self._last = ""
        self._collector: ChunkCollector | None = None
        self._giving_up: threading.Timer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    # The first two run on the link's thread.

    def offered(self, link: Link, offer: JobOffer) -> None:
        """Accept an offer or refuse it, and say so."""
        with self._lock:
            if offer.id in (self._current, self._last):
                return  # QoS 1 may deliver twice
            reason = self._objection(offer)
            if not reason:
                self._current = offer.id
                self._collector = ChunkCollector(offer.job, max_bytes=self._config.max_bytes)
                self._giving_up = threading.Timer(_COLLECT_S, self._forget, (offer.id,))
                self._giving_up.daemon = True
                self._giving_up.start()
        if reason:
            self._reply(link, JobReply(offer.id, "refused", reason))
            return
        link.subscribe(self._topics.job_part(offer.id, "in", "+"))
        self._reply(link, JobReply(offer.id, "accepted"))

    def part(self, link: Link, job: str, index: int, chunk: bytes) -> None:
        """Take a chunk of the job that was accepted; the last one starts it. Raises `MessageError`."""
        with self._lock:
            collector = self._collector
            if collector is None or job != self._current:
                return
            try:
                data = collector.add(index, chunk)
            except MessageError as error:
                self._finish(job)
                self._reply(link, JobReply(job, "failed", str(error)))
                raise
            if data is None:
                return
            self._collector = None
            if self._giving_up is not None:
                self._giving_up.cancel()
        link.unsubscribe(self._topics.job_part(job, "in", "+"))
        self._thread = threading.Thread(target=self._work, args=(link, job, data), name=f"job {job}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the job that runs, if one does."""
        with self._lock:
            self._closed = True
            if self._giving_up is not None:
                self._giving_up.cancel()
            if self._process is not None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()

    def _objection(self, offer: JobOffer) -> str:
        if not self._config.allow:
            return "this device takes no jobs: set `jobs.allow = true` in its agent's configuration"
        if self._current:
            return "this device is busy with another job: try again later"
        if offer.job.size_bytes > self._config.max_bytes:
            return (
                f"a job of {offer.job.size_bytes} bytes: this device takes up to {self._config.max_bytes} "
                "(`jobs.max_bytes`): give it fewer samples, or smaller models"
            )
        return ""

    def _forget(self, job: str) -> None:
        """Give up a job whose chunks don't come."""
        with self._lock:
            if job == self._current and self._collector is not None:
                log.warning("job %s: its chunks didn't come within %g s", job, _COLLECT_S)
                self._finish(job)

    def _finish(self, job: str) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._current, self._last, self._collector, self._process = "", job, None, None

    def _work(self, link: Link, job: str, data: bytes) -> None:
        reply, out = JobReply(job, "failed", "it was stopped"), b""
        try:
            from edgeloop.jobkinds import (
                artifacts_of,
                read_job,
            )  # devices that take no jobs need none of what it brings along

            for name, artifact in artifacts_of(read_job(data)).items():
                read_artifact(artifact, name=name).verify(self._trusted)
            out = self._run(data)
            reply = JobReply(job, "done", answer=blob_ref(out))
        except (EdgeloopError, OSError) as error:
            log.warning("job %s: %s", job, error)
            reply = JobReply(job, "failed", " ".join(str(error).split())[:1000])
        finally:
            with self._lock:
                self._finish(job)
            self._reply(link, reply)
            for index, chunk in enumerate(split(out)):
                link.publish(self._topics.job_part(job, "out", index), chunk)

    def _run(self, data: bytes) -> bytes:
        import subprocess

        with self._lock:
            if self._closed:
                raise MessageError("the agent is stopping")
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "edgeloop", "job"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        with process:
            try:
                os.setpriority(os.PRIO_PROCESS, process.pid, _LOW_PRIORITY)
                out, said = process.communicate(data, timeout=self._config.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise MessageError(f"it took longer than {self._config.timeout_s:g} s (`jobs.timeout_s`)") from error
            finally:
                process.kill()
        if process.returncode:
            raise MessageError(last_line(said) or f"its process ended with {process.returncode}")
        if len(out) > self._config.max_bytes:
            raise MessageError(f"an answer of {len(out)} bytes: up to {self._config.max_bytes} are sent")
        return out

    def _reply(self, link: Link, reply: JobReply) -> None:
        link.publish(self._topics.job_reply(reply.id), encode(reply))


def blob_ref(data: bytes) -> BlobRef:
    """What announces `data` in chunks of `CHUNK_BYTES`."""
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data), CHUNK_BYTES)


def split(data: bytes) -> list[bytes]:
    """`data` in chunks of `CHUNK_BYTES`."""
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]


def last_line(said: bytes) -> str:
    """What `edgeloop job` says last on standard error, without its name: the reason of its failure; "" for none."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.startswith("edgeloop job: ")]
    return lines[-1].removeprefix("edgeloop job: ") if lines else ""
