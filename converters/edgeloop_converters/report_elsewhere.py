"""The report's part on the places where an artifact was proved, beside this machine."""

from __future__ import annotations

import platform
from html import escape

from edgeloop.html import table
from edgeloop_converters.elsewhere import Elsewhere
from edgeloop_converters.proof import Comparison, Measurement

__all__ = ["render_elsewhere"]


def render_elsewhere(here: tuple[Measurement, Comparison, float], places: tuple[Elsewhere, ...]) -> str:
    """Both sides in one table; nothing where no place was asked for.

    Args:
        here: the artifact's metric, that against the original's, and its latency in microseconds, on this machine.
        places: where else it ran.
    """
    if not places:
        return ""
    measurement, comparison, latency_us = here
    rows = [
        [
            "this machine",
            escape(platform.machine()),
            *_values(measurement, comparison),
            "",
            "",
            "",
            f"{latency_us:.1f}",
        ]
    ]
    for e in places:
        d = e.difference
        rows.append(
            [
                escape(e.place),
                escape(f"{e.machine.board or e.machine.cpu}, {e.machine.arch}, {_version(e)}"),
                *_values(e.measurement, e.comparison),
                f"{d.agreement:.2%}",
                f"{d.changed:.1%}",
                f"{d.max_steps} <span class='soft'>(mean {d.mean_steps:.3f})</span>"
                if d.max_steps is not None
                else f"{d.max_abs:.3g} <span class='soft'>(not quantized)</span>",
                f"{e.latency.median_us:.1f}" if e.latency is not None else "–",
            ]
        )
    head = [
        "",
        "what runs it",
        f"{measurement.metric} (95 % interval)",
        "drop",
        "same top answer",
        "answers that differ",
        "steps apart",
        "µs a call",
    ]
    return (
        "<h2>On the target</h2>"
        "<p>The same file answers differently on other kernels, so the budget on the metric must hold at each place. "
        "The last columns compare its answers there with its answers here, on the same inputs.</p>"
        + table(head, rows, numbers=(3, 4, 5, 7))
        + (
            '<p class="soft">An emulator shows other kernels\' answers, and nothing of their speed.</p>'
            if any(e.is_emulator for e in places)
            else ""
        )
    )


def _values(measurement: Measurement, comparison: Comparison) -> list[str]:
    return [
        f"{measurement.value:.4f} <span class='soft'>({measurement.low:.4f} to {measurement.high:.4f})</span>",
        f"{comparison.drop:.4f}",
    ]


def _version(e: Elsewhere) -> str:
    package = {"litert": "ai-edge-litert"}.get(e.backend, e.backend)
    return f"{e.backend} {e.machine.libraries.get(package, '')}".strip()
