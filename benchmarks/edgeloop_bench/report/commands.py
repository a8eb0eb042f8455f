"""`edgeloop bench report` and `edgeloop bench view`: results as a page, and in the terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop_bench.reading import Found

__all__ = ["REPORT", "VIEW"]

_RESULT = "of `edgeloop bench --json` or `pytest --benchmark-json`, or a history (JSON lines)"


def _configure_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", metavar="RESULT", help=_RESULT)
    parser.add_argument("--history", metavar="FILE", help="the runs whose changes over time are shown")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="the page (.html); a .json is written in pytest-benchmark's format, of one result",
    )


def _configure_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", metavar="RESULT", help=_RESULT)
    parser.add_argument("--history", metavar="FILE", help="the runs whose changes over time are shown")
    parser.add_argument("--no-open", action="store_true", help="only print; no browser")


def _read(args: argparse.Namespace) -> Found:
    """The results; those that can't be read are told on standard error and left out, unless there is none left."""
    import sys

    from edgeloop.errors import DataError
    from edgeloop_bench.reading import read_results

    found = read_results(args.results)
    if not found.results:
        raise DataError(found.problems[0] if found.problems else "no result in these files")
    for problem in found.problems:
        sys.stderr.write(f"edgeloop {args.command}: left out: {problem}\n")
    return found


def _page(args: argparse.Namespace, found: Found) -> tuple[str, tuple[str, ...]]:
    """The page, and what couldn't be read of the results and the history."""
    from edgeloop_bench.history import read_history
    from edgeloop_bench.report.page import render

    history = None if args.history is None else read_history(args.history)
    problems = found.problems + (history.problems if history is not None else ())
    return render(found.results, history=None if history is None else history.results, problems=problems), problems


def _run_report(args: argparse.Namespace) -> Result:
    from edgeloop.errors import ConfigError
    from edgeloop.files import check_writable, write_atomic
    from edgeloop_bench.pytest_file import to_pytest

    kind = args.output.rpartition(".")[2].lower()
    if kind not in ("html", "json"):
        raise ConfigError(f"{args.output}: a page ends in .html, pytest-benchmark's format in .json")
    check_writable(args.output)
    found = _read(args)
    problems = found.problems
    if kind == "html":
        text, problems = _page(args, found)
        write_atomic(args.output, text)
    elif len(found.results) > 1:
        raise ConfigError(f"{args.output}: pytest-benchmark's format holds one run; here are {len(found.results)}")
    else:
        write_atomic(args.output, to_pytest(found.results[0]))
    data = {"output": args.output, "results": len(found.results), "problems": list(problems)}
    said = f", without {len(problems)} that can't be read" if problems else ""
    return Result(data, f"{args.output}: {_counted(len(found.results))}{said}", holds=not problems)


def _counted(n: int) -> str:
    return f"{n:,} run{'s' * (n != 1)}"


def _run_view(args: argparse.Namespace) -> Result:
    import msgspec

    from edgeloop_bench.table import as_table

    found = _read(args)
    text = "\n\n".join(as_table(result) for result in found.results)
    data = {"results": [msgspec.to_builtins(r) for r in found.results], "problems": list(found.problems)}
    if not args.no_open and not args.json:
        text += f"\n\n{_open(args, found)}"
    return Result(data, text, holds=not found.problems)


def _open(args: argparse.Namespace, found: Found) -> str:
    """Write the page to a temporary file and show it; or say why not."""
    import os
    import sys
    import tempfile
    import webbrowser
    from pathlib import Path

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "No display here: `edgeloop bench report RESULT… -o page.html` writes the page."
    if (missing := REPORT.missing()) is not None:
        return f"The page needs {missing!r}: pip install 'edgeloop[bench]'"
    handle, name = tempfile.mkstemp(prefix="edgeloop-bench-", suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_page(args, found)[0])
    opened = webbrowser.open(Path(name).as_uri())
    return f"{'Opened' if opened else 'No browser was found for'} {name}"


REPORT = Command("one page with everything in results: plots, a table, history", _configure_report, _run_report,
                 extra="bench", needs=("plotly",))  # fmt: skip
VIEW = Command("print results, and open their page in the browser", _configure_view, _run_view)
