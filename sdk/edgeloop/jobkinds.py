"""Jobs of other packages: a kind that an entry point of the group `edgeloop.jobs` names, `kind = module:function`.

Such a job goes the way of any other (`edgeloop job` over ssh or in an emulator, the agent's desk over MQTT): bytes in,
bytes out. What stands in it beside the artifacts is the kind's own. The artifacts stand apart, so that the desk can
see to their signatures without knowing the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal

import msgspec

from edgeloop.errors import ConfigError, MessageError
from edgeloop.job import Job, decode_job

__all__ = ["KindJob", "artifacts_of", "encode_kind_job", "handler_of", "read_job"]

_GROUP = "edgeloop.jobs"

Handler = Callable[["KindJob"], msgspec.Struct]
"""Does a job of its kind; the answer is sent as MessagePack."""


class KindJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job that another package does.

    Args:
        kind: as the entry point calls it.
        artifacts: whole files, in order, each with a name for messages.
        options: the kind's own.
        format: of the job.
    """

    kind: str
    artifacts: tuple[tuple[str, bytes], ...]
    options: dict[str, Any] = {}
    format: Literal[1] = 1


class _Head(msgspec.Struct, frozen=True):
    """What tells the two apart: a `Job` has no kind."""

    kind: str | None = None


def encode_kind_job(job: KindJob) -> bytes:
    """A job as it is sent."""
    return msgspec.msgpack.encode(job)


def read_job(data: bytes) -> Job | KindJob:
    """Read a job of either sort. Raises `MessageError`."""
    try:
        if msgspec.msgpack.decode(data, type=_Head).kind is None:
            return decode_job(data)
        job = msgspec.msgpack.decode(data, type=KindJob)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a valid job: {error}: is the same version of edgeloop on both sides?") from error
    if not job.artifacts:  # nothing in it would have to be signed
        raise MessageError(f"a job of the kind {job.kind!r} without an artifact")
    return job


def artifacts_of(job: Job | KindJob) -> Mapping[str, bytes]:
    """The artifacts that a job would run, each with a name for messages."""
    if isinstance(job, Job):
        return {"the job's artifact": job.artifact}
    return {f"the job's artifact {name!r}": data for name, data in job.artifacts}


def handler_of(kind: str) -> Handler:
    """What does jobs of a kind.

    Raises:
        ConfigError: nobody has registered it.
    """
    found = entry_points(group=_GROUP, name=kind)
    if not found:
        raise ConfigError(f"a job of the kind {kind!r}: no installed package does such jobs: update edgeloop there")
    try:
        handler: Handler = next(iter(found)).load()
        return handler
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"a job of the kind {kind!r}: {error}: reinstall its package") from error
