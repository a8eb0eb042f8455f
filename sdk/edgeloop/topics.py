"""The MQTT topics. `edgeloop/1/<shard>/<device>/…` belongs to one device, and its access rules can say so.

    edgeloop/1/07/cam-3/up/profile     device → centre: one message kind each, below `up`
    edgeloop/1/07/cam-3/state          device → centre: retained; birth and will
    edgeloop/1/07/cam-3/ack            centre → device: what has been committed to the lake
    edgeloop/1/07/cam-3/desired        centre → device: retained; what it should run
    edgeloop/1/07/cam-3/job            asker → device: a job is offered
    edgeloop/1/07/cam-3/job/<id>/…     in/12 asker → device, reply and out/12 device → asker: the job and its answer
    edgeloop/1/artifact/<sha256>/12    centre → devices: retained; one chunk of an artifact

The shard is fixed by the device's name, so that N ingest processes can share a fleet by topic filter alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from edgeloop.errors import ConfigError, MessageError

__all__ = [
    "ROOT",
    "SHARDS",
    "DeviceTopics",
    "UpTopic",
    "artifact_chunk",
    "artifact_filter",
    "check_device_name",
    "parse_artifact_chunk",
    "parse_up",
    "shard_filter",
    "shard_of",
]

ROOT = "edgeloop/1"
SHARDS = 16

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UP = re.compile(rf"{ROOT}/(\d\d)/([^/]+)/(?:up/([a-z]+)|(state))")
_PART = re.compile(r"/([0-9a-f]{16})/(?:in|out)/(\d{1,7})")
_CHUNK = re.compile(rf"{ROOT}/artifact/([0-9a-f]{{64}})/(\d{{1,7}})")


def check_device_name(device: str) -> str:
    """Give `device` back, or raise `ConfigError`: letters, digits, `.`, `_`, `-`, up to 64, no other start."""
    if not _DEVICE.fullmatch(device):
        raise ConfigError(
            f"device name {device!r}: use 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit"
        )
    return device


@lru_cache(maxsize=4096)
def shard_of(device: str) -> int:
    """The shard of a device: a stable hash of its name, 0 … SHARDS-1."""
    return int.from_bytes(hashlib.blake2b(device.encode(), digest_size=8).digest(), "big") % SHARDS


@dataclass(frozen=True)
class DeviceTopics:
    """The topics of one device. Raises `ConfigError` for a name that can't stand in a topic."""

    device: str

    def __post_init__(self) -> None:
        """Check the name."""
        check_device_name(self.device)

    @property
    def _base(self) -> str:
        return f"{ROOT}/{shard_of(self.device):02d}/{self.device}"

    def up(self, kind: str) -> str:
        """Where the device sends messages of `kind`."""
        return f"{self._base}/up/{kind}"

    @property
    def state(self) -> str:
        """Where it says that it is there (birth, will)."""
        return f"{self._base}/state"

    @property
    def ack(self) -> str:
        """Where the centre acknowledges."""
        return f"{self._base}/ack"

    @property
    def desired(self) -> str:
        """Where the centre says what the device should run."""
        return f"{self._base}/desired"

    @property
    def job(self) -> str:
        """Where a job is offered to it."""
        return f"{self._base}/job"

    def job_part(self, job: str, part: Literal["in", "out"], index: int | str) -> str:
        """Where chunk `index` of a job goes, or of its answer; `+` for all of them."""
        return f"{self.job}/{job}/{part}/{index}"

    def job_reply(self, job: str) -> str:
        """Where the device says what became of a job."""
        return f"{self.job}/{job}/reply"

    def parse_job_part(self, topic: str) -> tuple[str, int] | None:
        """The job's id and the chunk's index of a topic of `job_part`, or None for another topic."""
        match = _PART.fullmatch(topic.removeprefix(self.job))
        return (match[1], int(match[2])) if match and topic.startswith(self.job) else None


@dataclass(frozen=True)
class UpTopic:
    """What a topic from a device says: who sent it, and the message's kind (`state` among them)."""

    device: str
    kind: str


def shard_filter(shard: int) -> tuple[str, str]:
    """The topic filters for all that the devices of one shard send."""
    return f"{ROOT}/{shard:02d}/+/up/+", f"{ROOT}/{shard:02d}/+/state"


def parse_up(topic: str) -> UpTopic:
    """Read a topic from a device. Raises `MessageError` for another one, or a device in a shard that isn't its own."""
    match = _UP.fullmatch(topic)
    if not match or not _DEVICE.fullmatch(match[2]):
        raise MessageError(f"topic {topic[:200]!r} is not one that a device sends on")
    if int(match[1]) != shard_of(match[2]):
        raise MessageError(f"topic {topic!r}: device {match[2]!r} belongs to shard {shard_of(match[2]):02d}")
    return UpTopic(match[2], match[3] or match[4])


def artifact_chunk(sha256: str, index: int) -> str:
    """The topic of chunk `index` of the artifact whose file has this SHA-256."""
    return f"{ROOT}/artifact/{sha256}/{index}"


def artifact_filter(sha256: str) -> str:
    """The topic filter for all chunks of an artifact."""
    return f"{ROOT}/artifact/{sha256}/+"


def parse_artifact_chunk(topic: str) -> tuple[str, int] | None:
    """The SHA-256 and the chunk's index, or None for another topic."""
    match = _CHUNK.fullmatch(topic)
    return (match[1], int(match[2])) if match else None
