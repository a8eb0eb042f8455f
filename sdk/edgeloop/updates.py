"""A new artifact's way onto the device: collected chunk by chunk, verified, tried, and only then switched to."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edgeloop.artifact import Artifact, read_artifact, write_artifact
from edgeloop.errors import ArtifactError, EdgeloopError, MessageError, ModelError
from edgeloop.messages import ArtifactRef, BlobRef
from edgeloop.runtime import Runtime
from edgeloop.runtime_config import RuntimeConfig
from edgeloop.signing import PublicKey

__all__ = ["ArtifactStore", "ChunkCollector"]

log = logging.getLogger(__name__)


class ChunkCollector:
    """Puts an artifact, a job or an answer together from chunks that come in any order, some of them twice.

    Args:
        wanted: what was announced.
        max_bytes: the largest that is taken here.

    Raises:
        MessageError: what was announced is larger than that.
    """

    def __init__(self, wanted: ArtifactRef | BlobRef, *, max_bytes: int) -> None:
        self.wanted = wanted
        self._what = "transfer"
        if isinstance(wanted, ArtifactRef):
            self._what = f"artifact {wanted.name!r} version {wanted.version}"
        if wanted.size_bytes > max_bytes:
            raise MessageError(f"{self._what} of {wanted.size_bytes} bytes: up to {max_bytes} are taken here")
        self._chunks: dict[int, bytes] = {}

    def add(self, index: int, chunk: bytes) -> bytes | None:
        """Add a chunk; give the whole file once it is complete, else None.

        Raises:
            MessageError: a chunk outside the file or of the wrong length, or a complete file of another hash, after
                which the collector is empty again.
        """
        wanted = self.wanted
        last = wanted.chunks - 1
        size = wanted.size_bytes - last * wanted.chunk_bytes if index == last else wanted.chunk_bytes
        if not 0 <= index <= last or len(chunk) != size:
            raise MessageError(f"chunk {index} of {len(chunk)} bytes isn't one of {wanted.chunks} of {self._what}")
        self._chunks[index] = chunk
        if len(self._chunks) <= last:
            return None
        data = b"".join(self._chunks[i] for i in range(wanted.chunks))
        self._chunks.clear()
        if hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise MessageError(f"{self._what}: its chunks don't have its hash")
        return data


class ArtifactStore:
    """The device's two artifacts on disk: the active one, and the one before it to fall back to.

    Args:
        directory: where they are; made where absent.
        trusted: the keys whose signature lets an artifact run.
        run: how it is run; choices of threads are remembered in `directory`.

    `refused` says, after `start`, what couldn't run and why: (error, SHA-256 of the file, or "" where it isn't read).
    """

    def __init__(self, directory: Path, trusted: Sequence[PublicKey], run: RuntimeConfig | None = None) -> None:
        self._active = directory / "active.tflite"
        self._previous = directory / "previous.tflite"
        self._trusted = trusted
        self._run = run or RuntimeConfig()
        # Not in the user's cache: a service may have none that lasts.
        self._choices = directory / "threads.json"
        self.refused: list[tuple[Exception, str]] = []
        directory.mkdir(parents=True, exist_ok=True)
        for torn in directory.glob(".*.tmp"):  # what was being written when the power went
            with suppress(OSError):
                torn.unlink()

    def start(self, installed: Artifact | None) -> Runtime:
        """The runtime to start with: the newest artifact here, or the `installed` one, that verifies and works.

        Raises:
            ArtifactError: none does; the message says why of each.
        """
        candidates: list[Artifact] = [] if installed is None else [installed]
        self.refused.clear()
        for path in (self._active, self._previous):
            try:
                candidates.append(read_artifact(path))
            except FileNotFoundError:
                continue
            except (ArtifactError, OSError) as error:
                self._refuse(error, "")
        for artifact in sorted(candidates, key=lambda a: a.manifest.version, reverse=True):
            try:
                artifact.verify(self._trusted)
                runtime = self._open(artifact)
            except (EdgeloopError, OSError) as error:
                self._refuse(error, hashlib.sha256(artifact.to_bytes()).hexdigest())
                continue
            try:
                self._keep(artifact)
            except OSError as error:  # a full disk is no reason not to run what is there
                log.warning("not kept: %s", error)
            return runtime
        reasons = "; ".join(str(error) for error, _ in self.refused)
        raise ArtifactError("no artifact to run: " + (reasons or "none is installed"))

    def _refuse(self, error: Exception, sha256: str) -> None:
        self.refused.append((error, sha256))
        log.warning("not started: %s", error)

    def switch(self, data: bytes, running: Artifact) -> Runtime:
        """Verify a new artifact, try it, and make it the active one. The old one runs on until the caller takes it.

        Raises:
            ArtifactError, ModelError: it isn't signed by a trusted key, isn't newer, or doesn't work here; nothing has
                changed.
            OSError: it can't be written; nothing has changed.
        """
        artifact = read_artifact(data, name="the deployed artifact")
        artifact.verify(self._trusted, newer_than=running.manifest.version)
        if artifact.manifest.name != running.manifest.name:
            raise ArtifactError(
                f"the deployed artifact is {artifact.manifest.name!r}, this device runs {running.manifest.name!r}"
            )
        runtime = self._open(artifact)
        try:
            write_artifact(self._previous, running)
            write_artifact(self._active, artifact)
        except OSError:
            runtime.close()
            raise
        return runtime

    def _open(self, artifact: Artifact) -> Runtime:
        try:
            return self._run.open(artifact, choices=self._choices)
        except RuntimeError as error:  # an interpreter's, of a delegate that fails when it is called
            raise ModelError(f"{artifact.source}: {' '.join(str(error).split())}") from error

    def _keep(self, artifact: Artifact) -> None:
        data = artifact.to_bytes()
        if not self._active.exists() or self._active.read_bytes() != data:
            write_artifact(self._active, artifact)
