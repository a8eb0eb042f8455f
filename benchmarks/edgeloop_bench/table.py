"""A result as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeloop_bench.gate import finding_of, noise_text
from edgeloop_bench.result import BenchResult, Gate, Scenario, SubjectResult

__all__ = ["align", "as_table", "gate_text", "us"]

SLOWEST = 5
NAME_LENGTH = 40


def as_table(result: BenchResult) -> str:
    """The whole result: what it ran on, every figure of each artifact, comparisons, and the verdict."""
    parts = [_where(result), _latencies(result), _costs(result)]
    parts += [_operators(subject) for subject in result.results if subject.operators]
    parts += [[gate_text(gate) for gate in result.gates], _verdict(result)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _where(result: BenchResult) -> list[str]:
    machine, vitals = result.machine, result.vitals
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    seen = [f"load {machine.load_1m:.1f} before"]
    if vitals.stolen_percent is not None:
        seen.append(f"{vitals.stolen_percent:.0f} % taken by others")
    if vitals.cpu_hz is not None:
        seen.append("–".join(f"{hz / 1e9:.2f}" for hz in dict.fromkeys(vitals.cpu_hz)) + " GHz")
    if vitals.temperature_c is not None:
        seen.append(f"{vitals.temperature_c[0]:.0f} °C, at most {vitals.temperature_c[1]:.0f} °C")
    return [
        " · ".join(filter(None, (machine.board, machine.cpu, f"{machine.cores} cores"))),
        f"Linux {machine.kernel} {machine.arch}, governor {machine.governor or 'unknown'}, {', '.join(seen)}",
        f"Python {machine.python}, {libraries}; measuring adds {result.instrument_us:.2f} µs a call",
    ]


def _latencies(result: BenchResult) -> list[str]:
    head = ["artifact", "scenario", "threads", "batch", "median", "95 % interval", "p90", "p99", "calls", "inputs/s"]
    rows = [_latency_row(subject, scenario) for subject in result.results for scenario in subject.scenarios]
    if len(result.results) > 1:
        head.append("ratio")
    return align([head, *(row[: len(head)] for row in rows)]) if rows else []


def _latency_row(subject: SubjectResult, scenario: Scenario) -> list[str]:
    latency = scenario.latency
    missed = "" if scenario.missed is None else f" ({scenario.missed / latency.n:.1%} late)"
    return [
        subject.name,
        scenario.kind,
        str(scenario.threads),
        str(scenario.batch),
        us(latency.median_us),
        "–" if latency.median_ci_us is None else "–".join(f"{end:,.1f}" for end in latency.median_ci_us) + " µs",
        us(latency.p90_us) + missed,
        us(latency.p99_us),
        f"{latency.n:,}",
        f"{scenario.throughput.per_s:,.0f}",
        _ratio(subject) if scenario is subject.scenarios[0] else "",
    ]


def _ratio(subject: SubjectResult) -> str:
    if subject.ratio is None:
        return "1"
    if subject.ratio.ci is None:
        return f"{subject.ratio.value:.3f}"
    interval = "–".join(f"{end:.3f}" for end in subject.ratio.ci)
    return f"{subject.ratio.value:.3f} ({interval}, {finding_of(subject.ratio)})"


def _costs(result: BenchResult) -> list[str]:
    """What a model costs beside its calls; a column that nothing is known for is left out."""
    head = ["artifact", "size", "load", "first call", "warm-up", "memory", "peak", "energy", "accuracy"]
    stages = list(dict.fromkeys(stage.name for subject in result.results for stage in subject.stages))
    rows = [[*_cost_row(subject), *_stage_cells(subject, stages)] for subject in result.results]
    columns = [column for column in zip([*head, *stages], *rows, strict=True) if set(column[1:]) != {"–"}]
    return align(list(zip(*columns, strict=True)))


def _cost_row(subject: SubjectResult) -> list[str]:
    memory, energy, right = subject.memory, subject.energy, subject.accuracy
    return [
        subject.name,
        f"{subject.file_bytes / 1000:,.1f} kB",
        "–" if subject.load_us is None else f"{subject.load_us / 1000:,.2f} ms",
        us(subject.first_us),
        "–" if subject.warmup is None else f"{subject.warmup.calls} calls",
        "–" if memory is None else f"{memory.steady_bytes / 1e6:,.2f} MB",
        "–" if memory is None else f"{memory.peak_bytes / 1e6:,.2f} MB",
        "–" if energy is None else f"{energy.uj_per_call:,.1f} µJ ({energy.source}, {energy.domain})",
        "–" if right is None else f"{right.value:.4f}{_ends(right.ci)}",
    ]


def _ends(ci: tuple[float, float] | None) -> str:
    return "" if ci is None else f" ({ci[0]:.4f}–{ci[1]:.4f})"


def _stage_cells(subject: SubjectResult, names: Iterable[str]) -> list[str]:
    times = {stage.name: stage.latency.median_us for stage in subject.stages}
    return [us(times.get(name)) for name in names]


def _operators(subject: SubjectResult) -> list[str]:
    slowest = sorted(subject.operators, key=lambda op: -op.us)[:SLOWEST]
    total = sum(op.us for op in subject.operators)
    whole = f", which takes {subject.scenarios[0].latency.median_us:,.1f} µs whole" if subject.scenarios else ""
    count = len(subject.operators)
    rows = align([[_short(op.name), op.kind, us(op.us), f"{op.us / total:.0%}"] for op in slowest])
    return [
        f"{subject.name}: {count} operators, each run alone, take {total:,.1f} µs{whole}; the slowest:",
        *(f"  {row}" for row in rows),
    ]


def _short(name: str) -> str:
    """The last of the names that a converter has strung together, from its end."""
    last = name.rpartition(";")[2]
    return last if len(last) <= NAME_LENGTH else f"…{last[1 - NAME_LENGTH :]}"


def gate_text(gate: Gate) -> str:
    """What a comparison came to, in one line."""
    ratio = gate.ratio
    interval = "" if ratio.ci is None else f" ({ratio.ci[0]:.3f}–{ratio.ci[1]:.3f} at {gate.confidence:.2%})"
    said = {"slower": "SLOWER", "faster": "faster", "no difference": "no difference", "can't tell": "can't tell"}
    words = f"{gate.name} against {gate.against}: {said[gate.finding]}"
    if gate.finding == "can't tell":
        words += f": {noise_text(ratio)}"
    words += f"; ratio {ratio.value:.3f}{interval}, {ratio.rounds} openings"
    if gate.limit is not None and gate.outcome is not None:
        outcome = {"holds": "holds", "slower": "DOES NOT HOLD", "can't tell": f"can't be told: {noise_text(ratio)}"}
        words += f"; at most {gate.limit - 1:.1%} slower: {outcome[gate.outcome]}"
    return words


def _verdict(result: BenchResult) -> list[str]:
    head = "VALID" if result.verdict.valid else "INVALID"
    return [head + (", partial" if result.is_partial else ""), *(f"  {why}" for why in result.verdict.reasons)]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def us(value: float | None) -> str:
    """Microseconds; a dash is what wasn't measured."""
    return "–" if value is None else f"{value:,.1f} µs"
