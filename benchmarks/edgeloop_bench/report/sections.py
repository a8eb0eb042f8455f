"""The page's sections on latency: the front, distributions, devices side by side, throughput."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgeloop.html import table
from edgeloop_bench.report.drawing import figure
from edgeloop_bench.report.gathered import Artifact, Gathered, front
from edgeloop_bench.report.part_plots import latencies, throughputs
from edgeloop_bench.report.plots import DASHES, pareto, ridges, tails
from edgeloop_bench.report.scales import format_us
from edgeloop_bench.result import Scenario
from edgeloop_converters.proof.metrics import METRICS

__all__ = ["devices_html", "distributions_html", "most_measured", "pareto_html", "throughput_html"]

_MOST_DEVICES = 6
_MOST_RIDGES = 10
_MOST_TAILS = 6
_MOST_DISTRIBUTIONS = 3
_MOST_GROUPS = 12
_MOST_METRICS = 3
_MOST_LINES = 6
_MOST_NAMES = 12


def pareto_html(gathered: Gathered) -> str:
    """A figure for each metric; of latency and size where no accuracy is known."""
    metrics = list(dict.fromkeys(a.accuracy[0] for a in gathered.artifacts if a.accuracy))
    if not metrics:
        its = [a for a in gathered.artifacts if a.file_bytes]
        return _pareto(gathered, its, None) + _soft("No accuracy was measured: give data to see it here.")
    parts = []
    for metric in metrics[:_MOST_METRICS]:
        its = [a for a in gathered.artifacts if a.accuracy and a.accuracy[0] == metric]
        parts.append(_pareto(gathered, its, metric))
    without = sum(a.accuracy is None for a in gathered.artifacts)
    if without:
        parts.append(_soft(f"{without:,} artifacts without accuracy are in the table only."))
    return "".join(parts)


def _pareto(gathered: Gathered, artifacts: Sequence[Artifact], metric: str | None) -> str:
    shown = _busiest(artifacts)
    artifacts = [a for a in artifacts if a.device in shown]
    if not artifacts:
        return ""
    # A user's own metric ("module:function") isn't imported for a file's sake; without more it is taken for a score.
    better = METRICS[metric].higher_is_better if metric in METRICS else True
    fronts = [
        front([a for a in artifacts if a.device == i and a.is_valid], higher_is_better=better) if i in shown else []
        for i in range(len(gathered.devices))
    ]
    plot = pareto(artifacts, fronts, gathered.devices, metric, higher_is_better=better)
    measures = f"latency, size and {metric}" if metric else "latency and size"
    larger = " The larger the mark, the larger the file." if metric else ""
    caption = f"On the front no other artifact is better in one of {measures} and as good in the rest.{larger}"
    return figure(plot, caption) + _fronts(gathered, fronts)


def _fronts(gathered: Gathered, fronts: Sequence[Sequence[Artifact]]) -> str:
    """Who is on the front, in words: there is no room for names on a phone."""
    lines = []
    for i, its in enumerate(fronts):
        if its:
            names = ", ".join(a.name for a in sorted(its, key=lambda a: a.median_us)[:_MOST_NAMES])
            more = f" and {len(its) - _MOST_NAMES} more" if len(its) > _MOST_NAMES else ""
            where = f" of {gathered.letters[i]}" if len(gathered.devices) > 1 else ""
            lines.append(f"<li>On the front{escape(where)}: {escape(names)}{more}</li>")
    rest = sum(not its for its in fronts)
    if rest and len(fronts) > _MOST_DEVICES:
        lines.append(f"<li>{rest} more devices are in the table only.</li>")
    return f'<ul class="soft">{"".join(lines)}</ul>'


def _busiest(artifacts: Sequence[Artifact]) -> set[int]:
    """The devices with most artifacts: more than some colours and symbols can't be told apart."""
    counts: dict[int, int] = {}
    for a in artifacts:
        counts[a.device] = counts.get(a.device, 0) + 1
    return set(sorted(counts, key=lambda i: (-counts[i], i))[:_MOST_DEVICES])


def most_measured(artifacts: Sequence[Artifact], most: int) -> list[Artifact]:
    """Those with most runs, in their order."""
    ranked = sorted(range(len(artifacts)), key=lambda i: -len(artifacts[i].rows))[:most]
    return [artifacts[i] for i in sorted(ranked)]


def distributions_html(gathered: Gathered) -> str:
    """For each device the densities and the tails of its artifacts' calls."""
    parts = []
    devices = sorted(range(len(gathered.devices)), key=lambda i: -sum(len(a.rows) for a in gathered.on(i)))
    for i in sorted(devices[:_MOST_DISTRIBUTIONS]):
        its = [a for a in gathered.on(i) if a.latest.scenarios]
        counted = [(a.name, a.distribution()) for a in most_measured(its, _MOST_RIDGES)]
        counted = [(name, c) for name, c in counted if c.n]
        if not counted:
            continue
        counted.sort(key=lambda pair: pair[1].quantile_us(0.5) or 0.0)
        title = f"<h3>{escape(gathered.devices[i])}</h3>" if len(gathered.devices) > 1 else ""
        rest = len(its) - len(counted)
        note = f" The {len(counted)} with most runs; {rest:,} more are in the table." if rest else ""
        parts.append(
            title
            + figure(ridges(counted, gathered.devices[i]), f"All counted calls, up to 99.9 % of them.{note}")
            + figure(
                tails(counted[:_MOST_TAILS], gathered.devices[i]), "The tail: how many calls took longer than that."
            )
        )
    rest = len(gathered.devices) - _MOST_DISTRIBUTIONS
    if parts and rest > 0:
        parts.append(_soft(f"{rest} more devices are in the table only."))
    return "".join(parts)


def devices_html(gathered: Gathered) -> str:
    """The artifacts that were measured on more than one device; nothing where there is one."""
    if len(gathered.devices) < 2:
        return ""
    groups: dict[tuple[str, str], list[Artifact]] = {}
    for a in gathered.artifacts:
        groups.setdefault((a.name, a.latest.sha256), []).append(a)
    shared = {name: its for (name, _), its in groups.items() if len({a.device for a in its}) > 1}
    if not shared:
        return _soft("No file was measured on more than one of these devices.")
    busiest = _busiest([a for its in shared.values() for a in its])
    shown = sorted(shared.items(), key=lambda item: -sum(len(a.rows) for a in item[1]))[:_MOST_GROUPS]
    kept = sorted(busiest)
    renumbered = {device: n for n, device in enumerate(kept)}
    marks = [(name, [_on(a, renumbered[a.device]) for a in its if a.device in busiest]) for name, its in shown]
    head = ["artifact", *(escape(gathered.letters[i]) for i in kept)]
    rows = [
        [escape(name), *(next((format_us(a.median_us) for a in its if a.device == i), "–") for i in kept)]
        for name, its in shown
    ]
    rest = len(shared) - len(shown)
    note = f" {rest:,} more files are in the table above." if rest else ""
    return figure(
        latencies(marks, [gathered.letters[i] for i in kept]),
        f"Each device's own figures: runs on different devices aren't paired, so no ratio is drawn between them.{note}",
    ) + table(head, rows, numbers=range(1, len(head)))


def _on(a: Artifact, device: int) -> Artifact:
    return Artifact(a.name, device, a.rows, a.median_us, a.is_valid)


def throughput_html(gathered: Gathered) -> str:
    """Threads and batches where more than one was measured, and the deadlines of the multi-stream scenario."""
    parts = []
    for i, device in enumerate(gathered.devices[:_MOST_DEVICES]):
        lines: list[tuple[str, Sequence[Scenario]]] = []
        for a in gathered.on(i):
            offline = [s for s in a.latest.scenarios if s.kind == "offline"]
            if len({(s.threads, s.batch) for s in offline}) > 1:
                lines.append((a.name, offline))
        if lines:
            title = f"<h3>{escape(device)}</h3>" if len(gathered.devices) > 1 else ""
            parts.append(title + figure(throughputs(lines[:_MOST_LINES]), _offline(lines[:_MOST_LINES])))
    rows = [
        [
            escape(a.name),
            escape(gathered.letters[a.device]),
            f"{s.offered_per_s:,.1f}" if s.offered_per_s else "–",
            f"{s.throughput.per_s:,.1f}",
            format_us(s.latency.p90_us),
            format_us(s.latency.p99_us),
            f"{s.missed:,} of {s.latency.n:,}",
        ]
        for a in gathered.artifacts[: 4 * _MOST_GROUPS]
        for s in a.latest.scenarios
        if s.kind == "multi-stream" and s.missed is not None
    ]
    if rows:
        head = ["artifact", "device", "asked, inputs/s", "answered, inputs/s", "90 %", "99 %", "deadlines missed"]
        parts.append("<h3>At a fixed rate</h3>" + table(head, rows, numbers=(2, 3, 4, 5, 6)))
    return "".join(parts)


def _offline(lines: Sequence[tuple[str, Sequence[Scenario]]]) -> str:
    batches = sorted({s.batch for _, scenarios in lines for s in scenarios})
    dashes = "; ".join(f"{'solid' if i == 0 else DASHES[i % len(DASHES)]}: batch {b}" for i, b in enumerate(batches))
    return f"Offline: inputs a second, as fast as it goes ({dashes})."


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'
