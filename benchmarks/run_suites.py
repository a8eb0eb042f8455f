"""Runs the suites one after another and writes `benchmarks/RESULTS.md`: what `make bench` does.

    python benchmarks/run_suites.py [--quick] [--only S]… [--without S]… [--again S]… [--results F] [--out DIR] [--list]

Each suite runs in processes of its own, with a limit on its time; one that fails, or lacks what it needs, is told with
its reason, and the others are run. Documents, logs and all of it together (`suites.json`) go to DIR. With `--only`,
or after Ctrl-C, the page goes there too, so that the committed one stays whole. `--again` measures a suite anew and
keeps the rest of DIR's last run; the page says so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from edgeloop.files import write_atomic
from edgeloop.machine import describe_machine
from suite_runner.catalogue import SUITES
from suite_runner.figures import Row
from suite_runner.results_page import Run, behind, render
from suite_runner.running import Record, environment, run_suite
from suite_runner.suite import REPO, Suite

REPORTED = ("models", "micro")
RESULTS = REPO / "benchmarks" / "RESULTS.md"
LAST = "suites.json"


def main() -> int:
    """Run what was asked for; 1 where a suite failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short settings: some ten minutes in all")
    parser.add_argument("--only", action="append", metavar="SUITE", choices=[s.name for s in SUITES], help="repeatable")
    parser.add_argument(
        "--without", action="append", default=[], metavar="SUITE", choices=[s.name for s in SUITES], help="repeatable"
    )
    parser.add_argument(
        "--again", action="append", metavar="SUITE", choices=[s.name for s in SUITES], help="repeatable; the others' "
        "figures are those of the last run in DIR",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="the page of a whole run")
    parser.add_argument("--out", type=Path, default=REPO / "out" / "bench", metavar="DIR")
    parser.add_argument("--list", action="store_true", help="name the suites and stop")
    args = parser.parse_args()
    if args.list:
        sys.stdout.writelines(f"{suite.name:14}{suite.what}\n" for suite in SUITES)
        return 0
    chosen = [suite for suite in SUITES if not args.only or suite.name in args.only]
    args.out.mkdir(parents=True, exist_ok=True)
    last = last_run(args.out) if args.again else None
    run = Run(time.time(), commit(), describe_machine(), args.quick, ())  # before our own load shows in it
    if last is None:
        run = msgspec.structs.replace(run, records=run_all(chosen, args.without, args.out, quick=args.quick))
    else:
        anew = [suite for suite in SUITES if suite.name in args.again]
        found = {record.suite: record for record in run_all(anew, (), args.out, quick=last.quick)}
        note = f"measured later than the rest, at {run.commit}"
        records = [
            msgspec.structs.replace(its, reason="; ".join(filter(None, (its.reason, note))))
            if (its := found.get(record.suite))
            else record
            for record in last.records
        ]
        run = msgspec.structs.replace(last, records=tuple(records))
        chosen = [suite for suite in SUITES if any(suite.name == record.suite for record in records)]
    is_whole = len(chosen) == len(SUITES) and all(record.outcome != "interrupted" for record in run.records)
    results = args.results if is_whole else args.out / "RESULTS.md"
    write_atomic(args.out / LAST, msgspec.json.format(msgspec.json.encode(run)))
    write_atomic(results, render(run, chosen))
    tell(run, chosen, results, page(list(run.records), args.out))
    return 1 if any(record.outcome in ("failed", "interrupted") for record in run.records) else 0


def run_all(suites: Sequence[Suite], without: Collection[str], out: Path, *, quick: bool) -> tuple[Record, ...]:
    """Run suites one after another, until Ctrl-C."""
    records: list[Record] = []
    for suite in suites:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {suite.name}: {suite.what}\n")
        if suite.name in without:
            record = Record(suite.name, "", "skipped", "left out of this run")
        else:
            record = run_suite(suite, quick=quick, out=out)
        records.append(record)
        said = f": {record.reason}" if record.reason else ""
        sys.stderr.write(f"          {record.outcome} in {record.seconds:.0f} s{said}\n")
        if record.outcome == "interrupted":
            records += [Record(left.name, "", "interrupted", "not begun") for left in suites[len(records) :]]
            break
    return tuple(records)


def last_run(out: Path) -> Run:
    """What the last run has left in a folder."""
    try:
        return msgspec.json.decode((out / LAST).read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError) as error:
        raise SystemExit(f"{out / LAST}: {error}: --again needs a run that ended there") from error


def commit() -> str:
    """The tree's commit, and whether it has been changed since; "unknown" outside of a repository."""
    command = ["git", "-C", str(REPO), "describe", "--always", "--dirty=, changed since", "--abbrev=12", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def page(records: list[Record], out: Path) -> str:
    """Make the page of the documents that `edgeloop bench report` reads: where it is, or why there is none."""
    done = {record.suite for record in records if record.outcome == "done"}
    documents = [str(out / f"{name}.json") for name in REPORTED if name in done]
    if not documents:
        return "no page: nothing was measured that it would show"
    target = out / "report.html"
    command = [sys.executable, "-m", "edgeloop", "bench", "report", *documents, "-o", str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if made.returncode == 0:
        return f"written: {target}"
    return f"no page: {(made.stderr.strip().splitlines() or ['no reason given'])[-1]}"


def beside(row: Row) -> str:
    """Whom it is behind, where nothing was promised."""
    return f", beside {row.figure.peer}" if row.state == "behind" else ""


def tell(run: Run, suites: list[Suite], results: Path, page: str) -> None:
    """In short, what one looks for first."""
    lines = [f"{row.state}: {name}: {row.figure.what}{beside(row)}" for name, row in behind(run, suites)]
    lines += [f"{each.outcome}: {each.suite}: {each.reason}" for each in run.records if each.outcome != "done"]
    sys.stdout.writelines(f"{line}\n" for line in [*lines, f"written: {results}", page])


if __name__ == "__main__":
    sys.exit(main())
