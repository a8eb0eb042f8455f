"""What comes first on the page: whether the figures may be believed. And what comes last: how they were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape

from edgeloop.html import table
from edgeloop_bench.history import device_of
from edgeloop_bench.report.gathered import Gathered, letter
from edgeloop_bench.report.scales import format_us
from edgeloop_bench.result import BenchResult
from edgeloop_bench.table import gate_text

__all__ = ["how_html", "verdicts_html"]

_MOST_LINES = 12
_MOST_RUNS = 24


def verdicts_html(gathered: Gathered, problems: Sequence[str]) -> str:
    """INVALID runs and why; partial ones, failed artifacts, files that couldn't be read; and what else to know."""
    runs = gathered.runs
    invalid = [run for run in runs if not run.verdict.valid]
    partial = sum(run.is_partial for run in runs)
    errors = Counter(f"{row.subject.name}: {row.subject.error}" for row in gathered.rows if row.subject.error)
    besides = Counter(reason for run in runs if run.verdict.valid for reason in run.verdict.reasons)
    parts = []
    if invalid:
        reasons = Counter(reason for run in invalid for reason in (run.verdict.reasons or ("no reason is given",)))
        all_ = "" if len(runs) == 1 else f"{len(invalid):,} of {len(runs):,} runs: "
        parts.append(_box("no", f"{all_}INVALID because", _lines(reasons, len(runs))))
    else:
        said = "Valid" if len(runs) == 1 else f"All {len(runs):,} runs are valid"
        parts.append(_box("", f"{said}: nothing was seen that spoils the figures.", ""))
    if partial:
        which = "It was" if len(runs) == 1 else f"{partial:,} of {len(runs):,} runs were"
        parts.append(
            _box("no", f"Partial: {which} stopped before the end.", "<p>What was measured until then is here.</p>")
        )
    if gates := [gate for run in reversed(runs) for gate in run.gates]:
        missed = any(gate.outcome in {"slower", "can't tell"} for gate in gates)
        parts.append(_box("no" if missed else "", "Compared", _lines(Counter(map(gate_text, gates)), len(runs))))
    if errors:
        parts.append(_box("no", "Failed", _lines(errors, len(gathered.rows))))
    if problems:
        parts.append(_box("no", "Left out, since it can't be read", _lines(Counter(problems), 0)))
    if besides:
        parts.append(f'<p class="soft">Worth knowing:</p>{_lines(besides, len(runs))}')
    if 1 < len(gathered.devices) <= _MOST_LINES:
        lines = "".join(f"<li>{letter(i)}: {escape(name)}</li>" for i, name in enumerate(gathered.devices))
        parts.append(f'<ul class="soft">{lines}</ul>')
    return "".join(parts)


def _box(kind: str, title: str, inner: str) -> str:
    sign, colour = ("✗", "bad") if kind else ("✓", "good")
    return f'<div class="verdict {kind}"><p class="{colour}">{sign} {escape(title)}</p>{inner}</div>'


def _lines(counted: Counter[str], of: int) -> str:
    shown = counted.most_common(_MOST_LINES)
    lines = "".join(f"<li>{escape(text)}{f' ({n:,} times)' if n > 1 and of > 1 else ''}</li>" for text, n in shown)
    rest = len(counted) - len(shown)
    return f"<ul>{lines}{f'<li>and {rest:,} more</li>' if rest else ''}</ul>"


def how_html(gathered: Gathered) -> str:
    """Device, software, settings and the board's state; of the newest runs where there are many."""
    newest = list(reversed(gathered.runs))[:_MOST_RUNS]
    intro = ""
    if len(newest) < len(gathered.runs):
        intro = f'<p class="soft">The {len(newest)} newest of {len(gathered.runs):,} runs.</p>'
    if len(newest) == 1:
        return _facts(newest[0])
    head = ["run", "device", "software", "settings", "the board meanwhile"]
    rows = [
        [
            f"{escape(run.label or run.id)}<br><span class='soft'>{_when(run)}</span>",
            escape(str(device_of(run.machine))),
            escape(_software(run)),
            escape(_settings(run)),
            escape(_vitals(run)),
        ]
        for run in newest
    ]
    return intro + table(head, rows, sentences=(1, 2, 3, 4))


def _facts(run: BenchResult) -> str:
    facts = {
        "run": f"{run.id}{f', {run.label}' if run.label else ''}, {_when(run)}",
        "device": str(device_of(run.machine)),
        "software": _software(run),
        "settings": _settings(run),
        "the board meanwhile": _vitals(run),
    }
    return f'<dl class="facts">{"".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())}</dl>'


def _when(run: BenchResult) -> str:
    return datetime.fromtimestamp(run.start_s, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _software(run: BenchResult) -> str:
    m = run.machine
    libraries = [f"{name} {version}" for name, version in m.libraries.items()]
    governor = f"governor {m.governor}" if m.governor else ""
    return ", ".join(
        filter(None, (f"Linux {m.kernel}" if m.kernel else "", governor, f"Python {m.python}", *libraries))
    )


def _settings(run: BenchResult) -> str:
    s = run.settings
    parts = [
        f"backend {s.backend}",
        f"{s.kernels} kernels" if s.kernels != "default" else "",
        f"delegate {s.delegate}" if s.delegate else "",
        f"threads {', '.join(map(str, s.threads))}",
        f"batches {', '.join(map(str, s.batches))}",
        f"at least {s.seconds:g} s and {s.min_runs:,} calls in {s.openings} openings",
        f"{s.rate_per_s:g} inputs/s" if s.rate_per_s else "",
        f"deadline {format_us(s.deadline_us)}" if s.deadline_us else "",
        f"seed {s.seed}",
    ]
    return ", ".join(filter(None, parts))


def _vitals(run: BenchResult) -> str:
    v = run.vitals
    parts = [
        f"clock {v.cpu_hz[0] / 1e6:,.0f} to {v.cpu_hz[1] / 1e6:,.0f} MHz" if v.cpu_hz else "",
        f"{v.temperature_c[0]:.0f} °C, at most {v.temperature_c[1]:.0f} °C" if v.temperature_c else "",
        "throttling isn't told" if v.throttled is None else "",
        f"throttled: {', '.join(v.throttled)}" if v.throttled else "",
        f"load before {v.load_1m:.1f}",
        f"{v.stolen_percent:.1f} % of the time went to others" if v.stolen_percent is not None else "",
        f"measuring adds {format_us(run.instrument_us)} a call" if run.instrument_us else "",
    ]
    return ", ".join(filter(None, parts))
