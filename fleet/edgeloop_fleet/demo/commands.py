"""`edgeloop demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop_fleet.demo.verdict import Story

__all__ = ["DEMO"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--seed", type=int, default=1, help="makes the data and the training repeatable (default: 1)")
    parser.add_argument(
        "-o", "--output", default="out/demo", help="a new folder is made in it for each run (default: out/demo)"
    )


def run(args: argparse.Namespace) -> Result:
    """Run the story, judge it, write the report."""
    import time

    from edgeloop.files import write_atomic
    from edgeloop_converters.quiet import quiet_tensorflow
    from edgeloop_fleet.demo.report import render
    from edgeloop_fleet.demo.story import run_story
    from edgeloop_fleet.demo.verdict import checks
    from edgeloop_fleet.progress import Progress

    start = time.monotonic()
    directory = _new_directory(Path(args.output))
    progress = Progress(quiet=args.json)
    with progress.spinner("start TensorFlow"):
        quiet_tensorflow()
    story = run_story(directory, seed=args.seed, progress=progress)
    report = directory / "report.html"
    write_atomic(report, render(story))
    found = checks(story)
    seconds = time.monotonic() - start
    data = _data(story, seconds) | {"report": str(report)}
    return Result(data=data, text=_text(story, seconds, report), holds=all(check.holds for check in found))


def _new_directory(parent: Path) -> Path:
    from datetime import datetime

    base = parent / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    directory, n = base, 1
    while directory.exists():
        directory, n = base.with_name(f"{base.name}-{n}"), n + 1
    directory.mkdir(parents=True)
    return directory


def _data(story: Story, seconds: float) -> dict[str, Any]:
    from dataclasses import asdict

    import msgspec

    from edgeloop_fleet.demo.verdict import checks

    return {
        "seed": story.seed,
        "seconds": round(seconds, 1),
        "checks": [asdict(check) for check in checks(story)],
        "accuracy": {name: asdict(accuracy) for name, accuracy in story.accuracy.items()},
        "recovered": story.recovered,
        "labels": story.labels,
        "alarms": msgspec.to_builtins(story.alarms),
        "conversion": {
            str(version): {"before": asdict(converted.before), "after": asdict(converted.after)}
            for version, converted in ((1, story.first), (2, story.second))
        },
        "ledger": {name: asdict(row) for name, row in story.ledger.items()},
    }


def _text(story: Story, seconds: float, report: Path) -> str:
    from edgeloop_fleet.demo.verdict import checks

    lines = [
        f"\n{'device':8}{'lens':8}{'before':>9}{'during':>9}{'after':>9}{'sent':>8}{'stored':>8}{'lost':>6}{'twice':>7}"
    ]
    for name, accuracy in story.accuracy.items():
        row = story.ledger[name]
        lens = "bad" if name in story.bad else "good"
        lines.append(
            f"{name:8}{lens:8}{accuracy.before:>9.1%}{accuracy.during:>9.1%}{accuracy.after:>9.1%}"
            f"{row.sent:>8,}{row.stored:>8,}{row.lost:>6}{row.duplicates:>7}"
        )
    lines.append("")
    lines.extend(f"{'✓' if check.holds else '✗'} {check.name}: {check.said}" for check in checks(story))
    lines.append(f"\n{seconds:.0f} s; the report, with plots: {report}")
    return "\n".join(lines)


DEMO = Command(
    help="run the whole loop here: train, convert, run, drift, alarm, label, retrain, deploy",
    configure=configure,
    run=run,
    extra="convert,fleet",
    needs=("tensorflow", "deltalake", "iotcore", "plotly", "sklearn"),
)
