"""The result of one `edgeloop bench` run: what was measured, how, on what, and whether it may be believed.

It is one JSON document. Times are in microseconds, sizes in bytes, rates per second, moments in seconds since 1970;
None is what wasn't measured, or what this device doesn't tell.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgeloop.backends import BackendName, Kernels
from edgeloop.errors import ConfigError
from edgeloop.latency import Latency, Ratio
from edgeloop.machine import Machine

__all__ = [
    "SCHEMA",
    "Accuracy",
    "BenchResult",
    "Energy",
    "Finding",
    "Gate",
    "Memory",
    "Operator",
    "Outcome",
    "Scenario",
    "Settings",
    "Stage",
    "SubjectResult",
    "Throughput",
    "Verdict",
    "Vitals",
    "Warmup",
]

SCHEMA = 2
"""Grows when a reader of the old one would misread the new."""

ScenarioKind = Literal["single-stream", "multi-stream", "offline"]
Finding = Literal["slower", "faster", "no difference", "can't tell"]
Outcome = Literal["holds", "slower", "can't tell"]


class Settings(msgspec.Struct, frozen=True):
    """How it was measured.

    Args:
        seconds: of counted calls of each scenario, at least; shared among the openings.
        min_runs: counted calls of each scenario, at least.
        openings: how often each model was opened anew; intervals are over them.
        threads: of the interpreter, each measured.
        batches: sizes of a batch in the offline scenario.
        rate_per_s: inputs a second in the multi-stream scenario; None leaves it out.
        deadline_us: what an answer may take there; None is the time between two inputs.
        seed: draws the inputs.
        backend: the interpreter; "pytest-benchmark" where calls of any kind were measured by that.
        kernels: "default" or "reference".
        delegate: as `open_backend` takes it.
    """

    seconds: float = 2.0
    min_runs: int = 100
    openings: int = 12
    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1,)
    rate_per_s: float | None = None
    deadline_us: float | None = None
    seed: int = 0
    backend: BackendName | Literal["pytest-benchmark"] = "litert"
    kernels: Kernels = "default"
    delegate: str | None = None

    @property
    def interpreter(self) -> BackendName:
        """The interpreter. Raises `ConfigError` where there was none."""
        if self.backend == "pytest-benchmark":
            raise ConfigError("what pytest-benchmark measured is no model: there is nothing to open")
        return self.backend


class Vitals(msgspec.Struct, frozen=True):
    """The board while a run went on.

    Args:
        cpu_hz: lowest and highest clock of the first core that was seen.
        temperature_c: the first and the highest.
        throttled: what slowed the processor meanwhile; empty is nothing, None is that nothing tells.
        load_1m: before the run.
        stolen_percent: of the processor's time, by other virtual machines or by processes that ran instead of ours.
    """

    cpu_hz: tuple[float, float] | None = None
    temperature_c: tuple[float, float] | None = None
    throttled: tuple[str, ...] | None = None
    load_1m: float = 0.0
    stolen_percent: float | None = None


class Verdict(msgspec.Struct, frozen=True):
    """Whether the figures may be believed; `reasons` says why not, or what should be known besides."""

    valid: bool
    reasons: tuple[str, ...] = ()


class Warmup(msgspec.Struct, frozen=True):
    """Calls until they took what they took from then on, and the time of these."""

    calls: int
    us: float


class Throughput(msgspec.Struct, frozen=True):
    """Inputs a second: the median over the openings and its 95 % interval, None under 6 of them."""

    per_s: float
    ci_per_s: tuple[float, float] | None = None


class Scenario(msgspec.Struct, frozen=True):
    """One way of asking, after MLPerf Inference.

    Args:
        kind: "single-stream", one input after another; "multi-stream", at a fixed rate; "offline", as fast as it goes.
        threads: of the interpreter.
        batch: inputs in one call.
        latency: of one call.
        throughput: of inputs.
        histogram: `LatencyHistogram.pack()` of the calls in base64, for the distribution.
        missed: deadlines missed, of `latency.n` inputs; in the multi-stream scenario.
        offered_per_s: the rate that was asked for there.
    """

    kind: ScenarioKind
    threads: int
    batch: int
    latency: Latency
    throughput: Throughput
    histogram: bytes = b""
    missed: int | None = None
    offered_per_s: float | None = None


class Stage(msgspec.Struct, frozen=True):
    """One stage of a whole answer: "preprocessing", "invoke" or "postprocessing"."""

    name: str
    latency: Latency


class Memory(msgspec.Struct, frozen=True):
    """Of a process of its own that only loads and runs the model.

    Args:
        base_bytes: resident with the interpreter imported, before a model is loaded.
        steady_bytes: more than that, with the model loaded and warm.
        peak_bytes: more than that, at any moment.
    """

    base_bytes: int
    steady_bytes: int
    peak_bytes: int


class Energy(msgspec.Struct, frozen=True):
    """Of one call, in microjoules: `source` is the meter, `domain` what lies behind it, `idle_w` its draw at rest."""

    source: str
    domain: str
    uj_per_call: float
    idle_w: float | None = None


class Operator(msgspec.Struct, frozen=True):
    """One operator of the graph: its kind, the name of its output, and its median time.

    `is_alone` says that it was cut out and run by itself, since the interpreter has no profile.
    """

    kind: str
    name: str
    us: float
    is_alone: bool = True


class Accuracy(msgspec.Struct, frozen=True):
    """On the user's data, from the very file whose latency was measured.

    Args:
        metric: its name.
        value: of it.
        ci: its 95 % interval.
        n: inputs.
        data_sha256: of the data, in hexadecimal, as `Dataset.sha256` says it.
    """

    metric: str
    value: float
    ci: tuple[float, float] | None
    n: int
    data_sha256: str = ""


class SubjectResult(msgspec.Struct, frozen=True):
    """One artifact.

    Args:
        name: the file's name, without its folder.
        sha256: of the flatbuffer, in hexadecimal.
        file_bytes: the whole file.
        load_us: making the interpreter and allocating its tensors, the median over the openings.
        first_us: the first call after that, likewise.
        warmup: from then to the steady state.
        scenarios: the first is single-stream, one thread, batch 1, where that was measured.
        stages: of `Runtime.run`, apart.
        ratio: of the single-stream latency to the first artifact's of the run, paired by opening.
        error: why the figures end here; those above it are good.
    """

    name: str
    sha256: str
    file_bytes: int
    load_us: float | None = None
    first_us: float | None = None
    warmup: Warmup | None = None
    scenarios: tuple[Scenario, ...] = ()
    stages: tuple[Stage, ...] = ()
    operators: tuple[Operator, ...] = ()
    memory: Memory | None = None
    energy: Energy | None = None
    accuracy: Accuracy | None = None
    ratio: Ratio | None = None
    error: str | None = None


class Gate(msgspec.Struct, frozen=True):
    """What a comparison with `--against` came to, for one artifact.

    Args:
        name: the artifact's.
        against: the other's.
        ratio: of the artifact's single-stream latency to the other's, with the interval that was decided by.
        confidence: of that interval: it is looked at more than once, so it must be wider than 95 %.
        is_interleaved: False is a comparison with a stored result, across time, which is weaker.
        finding: "slower", "faster", "no difference", or "can't tell".
        limit: of the ratio; None is none.
        outcome: "holds", "slower" than the limit, or "can't tell"; None without a limit.
    """

    name: str
    against: str
    ratio: Ratio
    confidence: float
    is_interleaved: bool
    finding: Finding
    limit: float | None = None
    outcome: Outcome | None = None


class BenchResult(msgspec.Struct, frozen=True):
    """The one document of a run.

    Args:
        schema: `SCHEMA`.
        id: 16 hexadecimal digits, drawn at random: names the run in a history.
        start_s: when it began.
        machine: what it ran on.
        settings: how.
        results: one for each artifact.
        vitals: of the board meanwhile.
        verdict: whether it may be believed.
        instrument_us: what the measuring itself adds to one call.
        is_partial: whether it was stopped before its end.
        label: the user's, for the history: a commit, a release.
        gates: of a comparison that was asked for.
    """

    schema: Annotated[int, msgspec.Meta(ge=1)]
    id: str
    start_s: float
    machine: Machine
    settings: Settings
    results: tuple[SubjectResult, ...]
    vitals: Vitals
    verdict: Verdict
    instrument_us: float
    is_partial: bool = False
    label: str = ""
    gates: tuple[Gate, ...] = ()
