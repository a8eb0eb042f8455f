"""`edgeloop run`: run an artifact over files or standard input, one by one or in batches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop.runtime import Prediction, Runtime
    from edgeloop.sinks import Sink
    from edgeloop.sources import AnySource, Item, SourceItem

__all__ = ["COMMAND"]

_BATCH_ROWS = 4096


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifact", help="the .tflite file")
    parser.add_argument(
        "inputs",
        help="an .npy file of inputs (n, …), an .npz file with an array `x`, a .csv or .parquet table, a .wav file, an "
        "image or a folder of images, a .jsonl file, - for JSON lines on standard input, or "
        "serial:PORT?window=N&period_us=N for a microcontroller's samples",
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="litert, tflite-runtime or tensorflow (default: the first that is installed), or another package's: "
        "KIND:VALUE?option=value",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        default=1,
        metavar="N",
        help="the interpreter's threads; auto measures at the first start, and remembers (default: 1)",
    )
    parser.add_argument(
        "--delegate",
        metavar="NAME",
        help="edgetpu, gpu, or a delegate's shared library; else, and if it fails, the CPU",
    )
    parser.add_argument(
        "--kernels",
        choices=("default", "reference"),
        default="default",
        help="reference: the same bits on every processor, slowly",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N inputs")
    parser.add_argument("--columns", metavar="A,B", help="a table's columns, in the model's order (default: all)")
    parser.add_argument("--window-s", type=float, metavar="S", help=".wav: a window's length (default: the model's)")
    parser.add_argument("--hop-s", type=float, metavar="S", help=".wav: from window to window (default: no overlap)")
    parser.add_argument(
        "--sink",
        action="append",
        metavar="SINK",
        help="where predictions go: a .jsonl file, a .sqlite or .db file, mqtt://HOST[:PORT], or - for standard output "
        "(default); may be given several times",
    )
    parser.add_argument(
        "--policy",
        choices=("block", "drop-oldest", "drop-newest", "latest"),
        default="block",
        help="what happens to inputs that come faster than the model answers (default: block)",
    )
    parser.add_argument("--deadline-ms", type=float, metavar="MS", help="count the answers that take longer")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="score a table in batches into a .parquet, .csv or .jsonl"
    )
    parser.add_argument("--batch", type=int, default=_BATCH_ROWS, metavar="ROWS", help="rows in a batch, with --output")


def _threads(word: str) -> int | str:
    return word if word == "auto" else int(word)


def run(args: argparse.Namespace) -> Result:
    """Run every input; a line of JSON each, or one document with `--json`."""
    from edgeloop.artifact import read_artifact
    from edgeloop.errors import ConfigError
    from edgeloop.runtime_config import runtime_config_from_text

    if args.batch < 1 or (args.limit is not None and args.limit < 0):
        raise ConfigError(f"--batch {args.batch}, --limit {args.limit}: at least 1 and 0")
    if args.output and args.sink:
        raise ConfigError("--output scores a table in batches, --sink takes single predictions: choose one")
    fields = {"threads": args.threads, "kernels": args.kernels, "delegate": args.delegate}
    config = runtime_config_from_text(args.backend, **fields)
    with config.open(read_artifact(args.artifact)) as runtime:
        return _score(args, runtime) if args.output else _stream(args, runtime)


def _score(args: argparse.Namespace, runtime: Runtime) -> Result:
    import time
    from dataclasses import asdict

    from edgeloop.scoring import score
    from edgeloop.sinks.tables import open_table
    from edgeloop.sources.batches import count_rows, limited, read_batches

    batches = read_batches(args.inputs, args.batch, _columns(args))
    total = count_rows(args.inputs)
    if args.limit is not None:
        batches, total = limited(batches, args.limit), min(args.limit, args.limit if total is None else total)
    start_s = time.monotonic()
    of_total = "" if total is None else f" of {total:,}"

    def show(rows: int) -> None:
        sys.stderr.write(f"\r{rows:,}{of_total} rows, {rows / (time.monotonic() - start_s):,.0f} a second ")
        sys.stderr.flush()

    shows = sys.stderr.isatty()
    try:
        with open_table(args.output) as table:
            report = score(runtime, batches, table, on_batch=show if shows else lambda _: None)
    finally:
        if shows:
            sys.stderr.write("\n")
    duration_s = time.monotonic() - start_s
    text = f"{args.output}: {report.rows:,} rows in {duration_s:.1f} s, {report.refused:,} refused; {_how(runtime)}"
    if report.first_refusal:
        text += f" (the first: {report.first_refusal})"
    data = {**_where(runtime), **asdict(report), "output": args.output, "duration_s": round(duration_s, 3)}
    return Result(data=data, text=text, holds=report.refused == 0)


def _stream(args: argparse.Namespace, runtime: Runtime) -> Result:
    from edgeloop.errors import DataError, EdgeloopError
    from edgeloop.sinks import Fanout
    from edgeloop.stream import run_stream

    lines = _Lines(keep=args.json)
    with ExitStack() as stack:
        sinks = [stack.enter_context(closing(_sink(name, lines))) for name in args.sink or ["-"]]
        sink = Fanout(sinks)
        report = run_stream(
            runtime,
            islice(_items(args, runtime), args.limit),
            sink,
            policy=args.policy,
            deadline_ms=args.deadline_ms,
            on_refused=lines.refuse,
            on_failed=lines.refuse,
        )
    if isinstance(report.error, EdgeloopError | OSError):
        raise report.error
    if report.error is not None:
        raise DataError(f"{args.inputs}: {type(report.error).__name__}: {report.error}") from report.error
    if not (report.inferences or report.refused or report.failed or report.skipped):
        raise DataError(f"{args.inputs}: no inputs in it")
    data = {
        **_where(runtime),
        "inferences": report.inferences,
        "refused": report.refused,
        "failed": report.failed,
        "skipped": report.skipped,
        "dropped": report.dropped,
        "missed_deadlines": report.missed_deadlines,
        "lost": sink.lost,
        "duration_s": round(report.duration_s, 3),
    }
    text = f"{report.inferences:,} inferences in {report.duration_s:.1f} s; {_how(runtime)}"
    holds = not (report.refused or report.failed or report.skipped or sink.lost)
    if "-" in (args.sink or ["-"]):
        text = ""
    return Result(data={"predictions": lines.kept, **data} if args.json else data, text=text, holds=holds)


def _where(runtime: Runtime) -> dict[str, Any]:
    import msgspec

    from edgeloop.execution import execution_of

    found: dict[str, Any] = msgspec.to_builtins(execution_of(runtime))
    return found


def _how(runtime: Runtime) -> str:
    from edgeloop.execution import execution_of

    return ", ".join(execution_of(runtime).to_words())


class _Lines:
    """Prints predictions and refusals as lines of JSON, or keeps them for one document."""

    def __init__(self, *, keep: bool) -> None:
        self.lost = 0
        self.kept: list[dict[str, Any]] = []
        self._keep = keep

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        from edgeloop.sinks import record

        self._add(record(ref, prediction, runtime))

    def refuse(self, item: SourceItem, error: Exception) -> None:
        self._add({"ref": item.ref, "error": str(error)})

    def flush(self) -> None:
        sys.stdout.flush()

    def close(self) -> None:
        sys.stdout.flush()

    def _add(self, line: dict[str, Any]) -> None:
        import json

        if self._keep:
            self.kept.append(line)
        else:
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def _sink(name: str, lines: _Lines) -> Sink:
    import platform
    import re
    from pathlib import Path

    from edgeloop.errors import ConfigError
    from edgeloop.sinks import JsonLinesSink, MqttSink, SqliteSink

    if name == "-":
        return lines
    if "://" in name:
        device = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:64]
        sink = MqttSink(name, device)
        try:
            sink.wait_connected()
        except BaseException:
            sink.close()
            raise
        return sink
    suffix = Path(name).suffix.lower()
    if suffix in {".sqlite", ".db"}:
        return SqliteSink(name)
    if suffix == ".jsonl":
        return JsonLinesSink(name)
    raise ConfigError(f"--sink {name}: name it *.jsonl, *.sqlite or *.db, or write mqtt://HOST[:PORT] or -")


def _items(args: argparse.Namespace, runtime: Runtime) -> Iterator[Item]:
    from pathlib import Path

    from edgeloop.sources import SourceItem
    from edgeloop.sources.batches import read_batches
    from edgeloop.sources.plugin import source_from_text

    plugin = source_from_text(args.inputs)
    if plugin is not None:
        return plugin.open()
    if Path(args.inputs).suffix.lower() != ".parquet":
        return _source(args, runtime).open()
    rows = (row for batch in read_batches(args.inputs, args.batch, _columns(args)) for row in batch)
    return (SourceItem(row, str(i)) for i, row in enumerate(rows))


def _source(args: argparse.Namespace, runtime: Runtime) -> AnySource:
    from pathlib import Path

    from edgeloop.errors import DataError
    from edgeloop.sources import Arrays, CsvRows, Images, JsonLines, Wav
    from edgeloop.sources.images import SUFFIXES

    path, suffix = Path(args.inputs), Path(args.inputs).suffix.lower()
    shape = runtime.manifest.sample_shape or runtime.manifest.inputs[0].shape[1:]
    if args.inputs == "-" or suffix == ".jsonl":
        return JsonLines(args.inputs)
    if suffix in SUFFIXES or path.is_dir():
        return Images(args.inputs, mode="L2" if len(shape) < 3 else "L" if shape[-1] == 1 else "RGB")
    if suffix == ".csv":
        return CsvRows(args.inputs, _columns(args))
    if suffix == ".wav":
        return Wav(args.inputs, args.window_s or _window_s(path, shape), args.hop_s)
    if suffix in {".npy", ".npz"}:
        return Arrays(args.inputs)
    if not path.exists():
        path.stat()
    raise DataError(f"{args.inputs}: unknown kind of inputs: see `edgeloop run --help`")


def _window_s(path: Any, shape: tuple[int, ...]) -> float:
    from edgeloop.errors import ConfigError
    from edgeloop.sources.wav import read_wav_header

    if len(shape) != 1:
        raise ConfigError(f"{path}: the model takes {shape}, which tells no window's length: --window-s")
    with path.open("rb", buffering=0) as file:
        return shape[0] / read_wav_header(file, str(path)).rate_hz


def _columns(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(args.columns.split(",")) if args.columns else ()


COMMAND = Command(help="run an artifact over files or standard input", configure=configure, run=run)
