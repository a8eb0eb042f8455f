"""The report's part on what the models look at: images under a heat map, signals with their falls, ranked columns."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters import plots
from edgeloop_converters.explaining import Explanation, Look

__all__ = ["looks_facts", "looks_html"]

SHOWN_PIXELS = 160
FACT_CELLS = 8
# The ends of a scale that the colour-blind tell apart (Okabe and Ito, 2008): looks here, and is kept from its answer.
FOR, AGAINST = (230, 159, 0), (0, 114, 178)


def looks_html(explanations: Sequence[Explanation], draw: Callable[[Any], str]) -> str:
    """The part's HTML; empty where nothing was measured. `draw` turns a figure into HTML."""
    parts = [_one(e, draw) for e in explanations if e.looks or e.original or e.note]
    return "<h2>What it looks at</h2>" + "".join(parts) if parts else ""


def looks_facts(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """The same in plain types; a map as its means over 8 × 8 cells, or 8 stretches."""
    return [
        {
            "input": e.name or None,
            "kind": e.kind,
            "note": e.note,
            "looks": [
                {
                    "row": look.row,
                    "why": look.why,
                    "truth": look.truth,
                    "answers": list(look.answers),
                    "correlation": look.correlation,
                    "original": _cells(look.original),
                    "artifact": _cells(look.artifact),
                }
                for look in e.looks
            ],
            "importance": [
                {"feature": a.name, "original": a.mean, "artifact": b.mean, "deviation": b.deviation}
                for a, b in zip(e.original, e.artifact, strict=True)
            ],
        }
        for e in explanations
    ]


def _one(e: Explanation, draw: Callable[[Any], str]) -> str:
    title = f"<h3>Input {escape(e.name)}</h3>" if e.name else ""
    note = f'<p class="soft">{escape(e.note[:1].upper() + e.note[1:])}.</p>' if e.note else ""
    if e.kind == "image" and e.looks:
        cards = "".join(_card(look) for look in e.looks)
        key = (
            '<p class="soft"><span class="swatch" style="background:#e69f00"></span> speaks for its answer, '
            '<span class="swatch" style="background:#0072b2"></span> against it; each model on its own scale.</p>'
        )
        return title + note + _agreement(e) + key + f'<div class="looks">{cards}</div>'
    if e.kind == "signal" and e.looks:
        figures = "".join(f"<p>{_words(look)}</p>" + draw(plots.signal_look(look)) for look in e.looks)
        return title + note + _agreement(e) + figures
    if e.original:
        return title + note + draw(plots.importance_bars(e.original, e.artifact))
    return title + note


def _agreement(e: Explanation) -> str:
    found = [look.correlation for look in e.looks if not math.isnan(look.correlation)]
    if not found:
        return ""
    words = (
        "the artifact looks at the same places" if min(found) > 0.8 else "where it is low, the artifact looks elsewhere"
    )
    return (
        f"<p>The models' maps correlate by {np.mean(found):.2f} on average, {min(found):.2f} at the least: {words}.</p>"
    )


def _card(look: Look) -> str:
    image = _pixels(look.sample)
    panels = (
        ("input", image),
        (f"original: {look.answers[0]}{_flat(look.original)}", _heated(image, look.original)),
        (f"artifact: {look.answers[1]}{_flat(look.artifact)}", _heated(image, look.artifact)),
    )
    shown = "".join(
        f'<figure><img src="{_png(pixels)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, pixels in panels
    )
    return f'<section class="look"><p>{_words(look)}</p><div class="strip">{shown}</div></section>'


def _flat(heat: NDArray[Any]) -> str:
    """Said of a map that has nothing in it: no patch changes the answer by a step of the output."""
    return "" if np.abs(heat).max() > 0 else ", unmoved"


def _words(look: Look) -> str:
    same = "" if math.isnan(look.correlation) else f"; the maps correlate by {look.correlation:.2f}"
    answers = " and ".join(dict.fromkeys(look.answers))
    said = f"sample {look.row}: is {escape(look.truth)}, answered {escape(answers)}"
    return f'<strong>{look.why}</strong>, {said}<span class="soft">{same}</span>'


def _pixels(sample: NDArray[Any]) -> NDArray[np.uint8]:
    """(h, w, 3) of a sample (h, w, c), from its own lowest to its highest value; its first channels, or its mean."""
    values = sample.astype(np.float64)
    values = values[:, :, :3] if values.shape[2] >= 3 else np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    low, high = values.min(), values.max()
    return np.asarray(255 * (values - low) / max(high - low, 1e-12), np.uint8)


def _heated(image: NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """The image in grey under its map, on a scale to the map's largest value."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    share = heat / max(float(np.abs(heat).max()), 1e-12)
    colour = np.where(share[..., None] > 0, np.array(FOR), np.array(AGAINST))
    weight = 0.75 * np.abs(share)[..., None]
    return np.asarray((1 - weight) * grey + weight * colour, np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    """A data URI; small images are magnified, so that they stay sharp in print too."""
    from PIL import Image

    image = Image.fromarray(pixels)
    times = SHOWN_PIXELS / max(image.size)
    method = Image.Resampling.NEAREST if times > 1 else Image.Resampling.BILINEAR
    if times < 1 or times >= 2:
        image = image.resize((round(image.width * times), round(image.height * times)), method)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _cells(heat: NDArray[Any]) -> Any:
    """A map's means over some cells along each axis, with four digits."""
    for axis in range(heat.ndim):
        parts = np.array_split(heat, min(FACT_CELLS, heat.shape[axis]), axis=axis)
        heat = np.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return np.round(heat.astype(np.float64), 4).tolist()
