"""The far side of `edgeloop bench --on`: a job of the kind `bench`, done by `edgeloop job` on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeloop.delegates import DELEGATES
from edgeloop.errors import ConfigError, MessageError
from edgeloop.jobkinds import KindJob
from edgeloop_bench.compare import PASSES, Pass, compare
from edgeloop_bench.result import BenchResult, Settings
from edgeloop_bench.subject import read_subject

__all__ = ["KIND", "bench_job", "make_bench_job"]

KIND = "bench"


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    settings: Settings
    passes: tuple[Pass, ...] = PASSES
    label: str = ""


def make_bench_job(
    artifacts: Sequence[tuple[str, bytes]], settings: Settings, passes: tuple[Pass, ...] = PASSES, label: str = ""
) -> KindJob:
    """A benchmark to be done elsewhere.

    Args:
        artifacts: the names that the result has for them, and the whole files.
        settings: how.
        passes: see `compare`.
        label: the user's.
    """
    return KindJob(
        kind=KIND, artifacts=tuple(artifacts), options=msgspec.to_builtins(_Options(settings, passes, label))
    )


def bench_job(job: KindJob) -> BenchResult:
    """Measure the job's artifacts here, as `edgeloop bench` does.

    They lie in a temporary folder meanwhile, since a pass may want them in a process of its own.

    Raises:
        MessageError: its options are another version's, or a name is none of a file.
        ArtifactError, ModelError, ConfigError: as `edgeloop bench` does.
    """
    try:
        options = msgspec.convert(job.options, _Options, strict=False)
    except msgspec.ValidationError as error:
        raise MessageError(f"not a valid benchmark: {error}: is the same version of edgeloop on both sides?") from error
    delegate = options.settings.delegate
    if delegate is not None and delegate not in DELEGATES:
        raise ConfigError(
            f"the delegate {delegate!r} is a library's path, and a job isn't signed: ask for {' or '.join(DELEGATES)}, "
            "or measure on the device itself"
        )
    with tempfile.TemporaryDirectory(prefix="edgeloop-bench-") as folder:
        subjects = []
        for i, (name, data) in enumerate(job.artifacts):
            if Path(name).name != name:
                raise MessageError(f"an artifact named {name!r}: a file's name without its folder is wanted")
            path = Path(folder) / str(i) / name  # two may have one name
            path.parent.mkdir()
            path.write_bytes(data)
            subjects.append(read_subject(str(path)))
        return compare(subjects, options.settings, passes=options.passes, label=options.label)
