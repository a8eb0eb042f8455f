"""The demo's report: one page that tells the story with its figures."""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

from edgeloop.html import figure_html, page, table
from edgeloop_fleet.demo.camera import Lens, look
from edgeloop_fleet.demo.plots import accuracy_bars, accuracy_over_time, drift_over_time
from edgeloop_fleet.demo.verdict import Story, checks

__all__ = ["render"]


def render(story: Story) -> str:
    """The whole page."""
    parts = (_head(story), _cameras(story.images), _drift(story), _models(story), _ledger(story))
    return page("edgeloop demo", "\n".join(parts))


def _head(story: Story) -> str:
    found = checks(story)
    closed = all(check.holds for check in found)
    kind, words = ("good", "The loop closed.") if closed else ("bad", "The loop did not close.")
    verdict = f'<span class="{kind}">{words}</span>'
    rows = [[_mark(check.holds), escape(check.name), escape(check.said)] for check in found]
    return (
        f"<h1>{verdict} {story.mean('before'):.0%} → {story.mean('during'):.0%} → {story.mean('after'):.0%}</h1>"
        f'<p class="soft">The accuracy of the {len(story.bad)} devices whose lens went bad: before, during, and after '
        f"they got a model that was retrained on {story.labels} labelled samples of theirs. Seed {story.seed}; three "
        "device processes, a real broker, a real lake; every figure was measured in this run.</p>"
        + table(["", "promise", "measured"], rows)
        + "<h2>Accuracy, as the devices lived it</h2>"
        + figure_html(accuracy_over_time(story), with_library=True)
        + figure_html(accuracy_bars(story), with_library=False)
    )


def _cameras(images: NDArray[np.float32]) -> str:
    lenses: tuple[tuple[Lens, str], ...] = (
        ("good", "good lens"),
        ("blurred", "blurred"),
        ("worn", "worn: blurred, of low contrast, noisy"),
    )
    rng = np.random.default_rng(0)
    strips = []
    for lens, title in lenses:
        cells = "".join(f"<figure>{_pixels(look(image, lens, rng))}</figure>" for image in images)
        strips.append(f'<p class="soft">{title}</p><div class="strip">{cells}</div>')
    return "<h2>What the cameras saw</h2>" + "".join(strips)


def _pixels(image: NDArray[np.float32]) -> str:
    cells = "".join(
        f'<rect x="{x}" y="{y}" width="1.02" height="1.02" fill="rgb({v},{v},{v})"/>'
        for y, row in enumerate(image[..., 0])
        for x, value in enumerate(row)
        if (v := round(float(value) / 16 * 255)) >= 0
    )
    return f'<svg class="pixels" viewBox="0 0 8 8" shape-rendering="crispEdges" role="img">{cells}</svg>'


def _drift(story: Story) -> str:
    parts = ["<h2>What the monitor said</h2>"]
    for alarm in story.alarms:
        rows = [
            [escape(e.device), escape(e.description), f"{e.psi:.2f}", f"{e.p_value:.1g}", f"{e.n}"]
            for e in alarm.evidence[:8]
        ]
        parts.append(
            f"<p><strong>{escape(alarm.kind)}</strong> on {escape(', '.join(alarm.devices))}.</p>"
            f"<p>{escape(alarm.advice)}</p>"
            + table(["device", "evidence", "PSI", "p", "samples"], rows, numbers=(2, 3, 4))
        )
    if not story.alarms:
        parts.append('<p class="bad">No alarm was raised.</p>')
    parts.append(
        '<p class="soft">How far each feature was from the training data, window by window (population stability '
        "index). The healthy device's writers differ from those in training as well: the monitor leaves that alone.</p>"
    )
    parts.append(figure_html(drift_over_time(story), with_library=False))
    return "".join(parts)


def _models(story: Story) -> str:
    rows = []
    for title, side in (
        ("first model, float32", story.first.before),
        ("first artifact, int8", story.first.after),
        ("second model, float32", story.second.before),
        ("second artifact, int8", story.second.after),
    ):
        rows.append([title, f"{side.accuracy:.1%}", f"{side.size_bytes:,}", f"{side.latency_us:.1f}"])
    return (
        "<h2>What the conversion cost</h2>"
        "<p class=\"soft\">Accuracy on the gate's held-out data (the second one's has labelled samples from the field "
        "too), size of the flatbuffer, and the median latency of a call on this machine, interleaved in one run.</p>"
        + table(["", "accuracy", "bytes", "µs a call"], rows, numbers=(1, 2, 3))
    )


def _ledger(story: Story) -> str:
    rows = [
        [escape(name), f"{row.sent:,}", f"{row.stored:,}", f"{row.lost}", f"{row.duplicates}"]
        for name, row in story.ledger.items()
    ]
    return "<h2>Every message, accounted for</h2>" + table(
        ["device", "sent", "stored", "lost", "duplicates"], rows, numbers=(1, 2, 3, 4)
    )


def _mark(holds: bool) -> str:
    return '<span class="good">✓</span>' if holds else '<span class="bad">✗</span>'
