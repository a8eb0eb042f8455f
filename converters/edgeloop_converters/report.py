"""The report of a conversion: one page that stands alone, with every figure that the verdict leans on."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from edgeloop.html import figure_html, page, table
from edgeloop_converters import plots
from edgeloop_converters.candidates import Candidate
from edgeloop_converters.conversion import WORST_LAYERS, Converted
from edgeloop_converters.mending import PRECISIONS
from edgeloop_converters.proof import Measurement, format_bytes, format_us
from edgeloop_converters.report_elsewhere import render_elsewhere
from edgeloop_converters.report_looks import looks_html
from edgeloop_converters.tflite import Cause, LayerTime

__all__ = ["render"]


class _Figures:
    """The page's figures: the first brings Plotly's own code along."""

    def __init__(self) -> None:
        self._with_library = True

    def html(self, figure: Any) -> str:
        """One figure as a piece of the page."""
        code = figure_html(figure, with_library=self._with_library)
        self._with_library = False
        return code


def render(converted: Converted) -> str:
    """The whole page."""
    figures, proof = _Figures(), converted.proof
    parts = (
        _head(converted),
        _before_after(converted),
        render_elsewhere((proof.artifact, proof.comparison, converted.after.latency_us), converted.elsewhere),
        _tried(converted, figures),
        _calibration(converted, figures),
        _slices(converted, figures),
        _robustness(converted, figures),
        looks_html(converted.explanations, figures.html),
        _layers(converted, figures),
        _file(converted),
        _data(converted),
        _recipe(converted),
    )
    return page(f"edgeloop: {converted.artifact.manifest.name}", "\n".join(parts))


def _head(c: Converted) -> str:
    kind, words = ("good", "Every budget holds.") if c.verdict.holds else ("bad", "A budget is missed.")
    rows = [[_mark(b.holds), escape(b.name), escape(b.sentence)] for b in c.verdict.budgets]
    m = c.artifact.manifest
    real = sum(not x.is_proxy for x in c.candidates)
    best = "the smallest that holds" if c.verdict.holds else "what comes nearest"
    found = f"{real} candidates were tried; this is {best}:" if real > 1 else "made by the recipe"
    return (
        f'<h1><span class="{kind}">{words}</span></h1>'
        f'<p class="soft">{escape(m.name)}, version {m.version}: {found} '
        f"<strong>{escape(c.recipe.name)}</strong>. Made "
        f"{escape(m.created)}, seed {m.recipe.seed if m.recipe else 0}.</p>"
        + table(["", "budget", "measured"], rows, sentences=(2,))
    )


def _before_after(c: Converted) -> str:
    def row(title: str, side: Any, found: Measurement) -> list[str]:
        return [
            title,
            f"{found.value:.4f} <span class='soft'>({found.low:.4f} to {found.high:.4f})</span>",
            f"{found.trivial:.4f}",
            f"{side.size_bytes:,}",
            f"{side.latency_us:.1f}",
        ]

    speed = c.result.speed
    agreed = c.result.evaluation.agreed
    said = []
    if speed is not None:
        ci = speed.of_original.ci
        interval = f" (95 % interval {ci[0]:.2f} to {ci[1]:.2f})" if ci else ""
        said.append(
            f"A call takes {speed.of_original.value:.2f} times as long as the original's{interval}, in one run."
        )
    times = c.before.size_bytes / c.after.size_bytes
    said.append(
        f"The model is {f'{times:.1f} times smaller' if times > 1 else f'{1 / times:.1f} times larger'}; with its "
        f"manifest the file takes {c.artifact.size_bytes:,} bytes."
    )
    compared = c.proof.comparison
    if compared.agreement is not None:
        said.append(
            f"Both answer the same on {compared.agreement:.1%} of samples (McNemar p = {compared.mcnemar_p:.2g})."
        )
    if agreed is not None:
        steps = f"{agreed.max_steps} step{'s' * (agreed.max_steps != 1)}"
        said.append(
            f"The reference kernels, which microcontrollers run, agree with this machine's on {agreed.top1:.1%} of "
            f"{agreed.samples} top answers, and are {steps} apart at most."
        )
    for other in c.proof.other_outputs:
        same = "" if other.agreement is None else f", with the same largest value on {other.agreement:.1%} of samples"
        said.append(f"Its output {other.name} is {other.nrmse:.2%} from the original's (RMSE over deviation){same}.")
    rows = [row("original, float32", c.before, c.proof.original), row("artifact", c.after, c.proof.artifact)]
    head = ["", f"{c.proof.artifact.metric} (95 % interval)", "trivial answer", "bytes of model", "µs a call"]
    return "<h2>Before and after</h2>" + table(head, rows, numbers=(2, 3, 4)) + f"<p>{escape(' '.join(said))}</p>"


def _tried(c: Converted, figures: _Figures) -> str:
    real = [x for x in c.candidates if not x.is_proxy]
    plot = figures.html(plots.pareto(c.candidates, c.front, c.result, c.before.value)) if len(real) > 1 else ""
    front = {id(x) for x in c.front}
    rows = [_tried_row(x, on_front=id(x) in front) for x in c.candidates]
    skipped = "".join(f"<li>{escape(s)}</li>" for s in c.skipped)
    return (
        "<h2>What was tried</h2>"
        + (
            '<p class="soft">The larger the mark, the slower. No other is better than a named one in drop, size and '
            "latency at once.</p>"
            if plot
            else ""
        )
        + plot
        + table(
            ["", "recipe", c.proof.artifact.metric, "bytes", "µs a call", "× original", "s"],
            rows,
            numbers=(2, 3, 4, 5, 6),
        )
        + (f'<p class="soft">Not tried:</p><ul class="soft">{skipped}</ul>' if skipped else "")
    )


def _tried_row(x: Candidate, *, on_front: bool) -> list[str]:
    name = escape(x.recipe.name)
    return [
        "" if x.is_proxy else _mark(x.verdict.holds),
        f"<strong>{name}</strong>" if on_front else name,
        "–" if x.is_proxy else f"{x.measurement.value:.4f}",
        f"{x.size_bytes:,}",
        f"{x.latency_us:.1f}" if x.latency_us is not None else "–",
        f"{x.speed.of_original.value:.2f}" if x.speed is not None else "–",
        f"{x.seconds:.0f}",
    ]


def _calibration(c: Converted, figures: _Figures) -> str:
    fit = c.proof.temperature
    if fit is None or not c.proof.bins:
        return ""
    carried = "which the manifest carries" if c.proof.mends_confidence else "which doesn't help and isn't kept"
    return (
        "<h2>Does its confidence mean what it says?</h2>"
        f"<p>Expected calibration error {fit.error_before:.3f}; with the temperature {fit.temperature:.2f}, {carried}, "
        f"{fit.error_after:.3f} (fitted on one half of the held-out data, judged on the other). "
        f"Log-loss {fit.log_loss_before:.3f} → {fit.log_loss_after:.3f}.</p>"
        + figures.html(plots.reliability(c.proof.bins))
    )


def _slices(c: Converted, figures: _Figures) -> str:
    parts = []
    for name, report in c.proof.slices:
        kind = "bad" if report.significant else "soft"
        words = "more than chance" if report.significant else "within chance"
        parts.append(
            f"<h2>By {escape(name)}</h2><p>The largest gap is {report.gap:.3f} ({report.confidence:.0%} interval "
            f"{report.gap_low:.3f} to {report.gap_high:.3f}), between {escape(report.worst)} and "
            f'{escape(report.best)}: <span class="{kind}">{words}</span> (p = {report.p_value:.2g}).</p>'
            f'<p class="soft">{escape(_sentence(report.note))}</p>' + figures.html(plots.slice_bars(report))
        )
    return "".join(parts)


def _robustness(c: Converted, figures: _Figures) -> str:
    rows, original = c.proof.robustness, c.proof.robustness_original
    if not rows:
        return ""
    return (
        "<h2>Under small changes of the input</h2>"
        '<p class="soft">Changes that a person hardly notices; both models get the very same ones.</p>'
        + figures.html(plots.robustness_bars(rows, original, c.proof.artifact.metric))
    )


def _layers(c: Converted, figures: _Figures) -> str:
    if c.diagnosis is None:
        return ""
    rows = []
    times = {time.layer: time for time in c.layer_times}
    for d in c.diagnosis.layers[:WORST_LAYERS]:
        cause = d.causes[0] if d.causes else None
        rows.append(
            [
                escape(_short(d.layer)),
                d.op.lower(),
                f"{d.added_nrmse:.2%}" if d.added_nrmse is not None else "–",
                f"{d.nrmse:.2%}",
                escape(f"{cause.kind}: {cause.evidence}") if cause else "",
                escape(f"{cause.remedy} ({cause.cost_bytes:+,} bytes; {_time_cost(cause, times.get(d.layer))})")
                if cause
                else "",
            ]
        )
    finer = ", ".join(f"{layer} ({PRECISIONS[scheme]})" for layer, scheme in c.mended.items())
    mended = f"<p>Put back to a higher precision for the drop's sake: {escape(finer)}.</p>" if finer else ""
    return (
        "<h2>Layer by layer</h2>"
        f'<p class="soft">The error against the float model on {c.diagnosis.samples} samples (RMSE over deviation), '
        "worst first.</p>"
        + mended
        + figures.html(plots.layer_bars(c.diagnosis))
        + table(
            ["layer", "operator", "adds", "in all", "likely cause", "what to try"],
            rows,
            numbers=(2, 3),
            sentences=(4, 5),
        )
    )


def _short(layer: str) -> str:
    """A layer's name without the models that it stands in."""
    return "/".join(layer.rpartition(";")[2].split("/")[-2:])[-48:]


def _time_cost(cause: Cause, time: LayerTime | None) -> str:
    """What a remedy costs in time: on the device, and until it is done."""
    if cause.work == "training":
        return "less time a call; training anew, minutes"
    if cause.changes_kernel and time is not None:
        return f"{time.quantized_us:.1f} → {time.float_us:.1f} µs a call for this layer here"
    return "another kernel" if cause.changes_kernel else "no time a call; converting again, seconds"


def _file(c: Converted) -> str:
    e = c.result.evaluation
    rows = [[_mark_of(f.severity), escape(f.message), escape(f.cause), escape(f.remedy)] for f in c.findings]
    outside = f"; outside it: {escape(', '.join(sorted(set(e.outside))))}" if e.outside else ""
    return (
        "<h2>The file</h2>"
        f"<p>{e.parameters:,} parameters, {e.macs:,} multiply-accumulates a call, {e.nodes} operators; XNNPACK runs "
        f"{e.nodes - len(e.outside)} of them in {e.partitions} partition{'s' * (e.partitions != 1)}{outside}. Its "
        f"activations take {format_bytes(e.peak_activation_bytes)} at once.</p>"
        + (
            table(["", "found", "cause", "what to do"], rows, sentences=(1, 2, 3))
            if rows
            else '<p class="good">It is what was asked for.</p>'
        )
    )


def _data(c: Converted) -> str:
    if not c.data_findings:
        return '<h2>The data</h2><p class="good">No leak, no missing class, no broken feature was found.</p>'
    rows = [[_mark_of(f.severity), escape(f.severity), escape(f.message)] for f in c.data_findings]
    return "<h2>The data</h2>" + table(["", "", "found"], rows, sentences=(2,))


def _recipe(c: Converted) -> str:
    m = c.artifact.manifest
    steps: Sequence[dict[str, Any]] = m.recipe.steps if m.recipe is not None else ()
    rows = [[escape(str(s["step"])), escape(", ".join(f"{k}={v}" for k, v in s.items() if k != "step"))] for s in steps]
    notes = "".join(f"<li>{escape(n)}</li>" for n in c.result.notes)
    origin = [[escape(k), f"<code>{escape(v)}</code>"] for k, v in m.provenance.items()]
    return (
        "<h2>The recipe</h2>"
        + table(["step", "options"], rows)
        + (f"<ul>{notes}</ul>" if notes else "")
        + "<h2>Where it comes from</h2>"
        + table(["", ""], [*origin, ["model.sha256", f"<code>{m.model.sha256}</code>"]])
        + f'<p class="soft">Latency at the median: {format_us(c.after.latency_us)} on this machine, in one run with '
        "the original's.</p>"
    )


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _mark_of(severity: str) -> str:
    return '<span class="bad">!</span>' if severity == "warning" else _mark(severity == "info")


def _mark(holds: bool) -> str:
    return '<span class="good">✓</span>' if holds else '<span class="bad">✗</span>'
