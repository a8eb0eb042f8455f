"""The page's sections on what a call is made of and what it takes: stages, operators, memory, energy."""

from __future__ import annotations

from html import escape

from edgeloop.html import table
from edgeloop_bench.report.drawing import figure
from edgeloop_bench.report.gathered import Artifact, Gathered
from edgeloop_bench.report.part_plots import bars, operators
from edgeloop_bench.report.scales import format_us
from edgeloop_bench.report.sections import most_measured

__all__ = ["energy_html", "memory_html", "operators_html", "stages_html"]

_MOST = 8
_MOST_OPERATORS = 40
_STAGES = ("preprocessing", "invoke", "postprocessing")


def stages_html(gathered: Gathered) -> str:
    """Of `Runtime.run`: a figure for each device."""
    parts = []
    for i in range(len(gathered.devices)):
        its = most_measured([a for a in gathered.on(i) if a.latest.stages], _MOST)
        if its:
            stages = [{s.name: s.latency.median_us for s in a.latest.stages} for a in its]
            named = [(name, [found.get(name, 0.0) for found in stages]) for name in _STAGES]
            says = "; ".join(
                f"{a.name}: " + ", ".join(f"{name} {format_us(us)}" for name, us in found.items())
                for a, found in zip(its, stages, strict=True)
            )
            plot = bars([a.name for a in its], named, "median of each stage", unit="us", says=f"Stages of {says}")
            parts.append(_title(gathered, i) + figure(plot))
    return "".join(parts[:_MOST])


def operators_html(gathered: Gathered) -> str:
    """A treemap for each artifact that has a profile, the first one open, with the same as a table."""
    its = most_measured([a for a in gathered.artifacts if a.latest.operators], _MOST)
    return "".join(_operators(a, gathered, is_open=i == 0) for i, a in enumerate(its))


def _operators(a: Artifact, gathered: Gathered, *, is_open: bool) -> str:
    subject = a.latest
    where = f" on {gathered.letters[a.device]}" if len(gathered.devices) > 1 else ""
    alone = any(o.is_alone for o in subject.operators)
    total = sum(o.us for o in subject.operators)
    caption = (
        f"Each operator was cut out and run by itself, {format_us(total)} in all; in one piece a call takes "
        f"{format_us(a.median_us)}."
        if alone
        else f"The interpreter's own profile: {format_us(total)} of {format_us(a.median_us)}."
    )
    ordered = sorted(subject.operators, key=lambda o: -o.us)
    rows = [
        [escape(o.kind), escape(o.name), format_us(o.us), f"{o.us / total:.1%}" if total else "–"]
        for o in ordered[:_MOST_OPERATORS]
    ]
    rest = len(ordered) - len(rows)
    more = f'<p class="soft">and {rest:,} that take less.</p>' if rest else ""
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(a.name + where)}, {len(ordered)} operators</summary>"
        + figure(operators(subject), caption)
        + "<details><summary>As a table</summary>"
        + table(["kind", "its output", "median", "share"], rows, numbers=(2, 3))
        + more
        + "</details></details>"
    )


def memory_html(gathered: Gathered) -> str:
    """Resident memory of a process that only runs the model: a figure for each device."""
    parts = []
    for i in range(len(gathered.devices)):
        found = [
            (a.name, a.latest.memory) for a in most_measured([a for a in gathered.on(i) if a.latest.memory], _MOST)
        ]
        held = [(name, m) for name, m in found if m is not None]
        if held:
            named = [
                ("the interpreter alone", [float(m.base_bytes) for _, m in held]),
                ("the model, steady", [float(m.steady_bytes) for _, m in held]),
                ("more at its peak", [float(max(0, m.peak_bytes - m.steady_bytes)) for _, m in held]),
            ]
            says = "; ".join(
                f"{n}: {m.steady_bytes / 1e6:.1f} MB, {m.peak_bytes / 1e6:.1f} MB at most" for n, m in held
            )
            plot = bars([n for n, _ in held], named, "resident memory", unit="bytes", says=f"Memory of {says}")
            parts.append(
                _title(gathered, i) + figure(plot, "In a process of its own that only loads and runs the model.")
            )
    return "".join(parts[:_MOST])


def energy_html(gathered: Gathered) -> str:
    """A table: what one meter shows isn't what another does, so there is no common axis."""
    found = [(a, e) for a in gathered.artifacts if (e := a.latest.energy) is not None]
    rows = [
        [
            escape(a.name),
            escape(gathered.letters[a.device]),
            f"{e.uj_per_call:,.1f} µJ",
            f"{e.idle_w:.2f} W" if e.idle_w is not None else "–",
            escape(f"{e.source}: {e.domain}"),
        ]
        for a, e in found[:_MOST_OPERATORS]
    ]
    if not rows:
        return ""
    rest = len(found) - len(rows)
    more = f'<p class="soft">{rest:,} more are in the table of all results.</p>' if rest else ""
    return (
        table(["artifact", "device", "a call", "at rest", "what was metered"], rows, numbers=(2, 3), sentences=(4,))
        + more
    )


def _title(gathered: Gathered, device: int) -> str:
    return f"<h3>{escape(gathered.devices[device])}</h3>" if len(gathered.devices) > 1 else ""
