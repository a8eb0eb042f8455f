"""Suites of what runs on a device: the runtime, single calls, whole ways, and what they take."""

from __future__ import annotations

from typing import Any

from suite_runner.figures import Figure, at_least, at_most, micro, one
from suite_runner.suite import Suite, module, on_path, script, shared, within

__all__ = ["SUITES"]

MICRO = ("{python}", "-m", "pytest", "benchmarks/suites/micro", "-q", "--benchmark-json", "{document}")
MODELS = tuple(f"{{shared}}/models/{name}.tflite" for name in ("ad01_int8", "ad01_float32", "kws_int8"))


def call(model: str, name: str, field: str) -> Any:
    return lambda d: next(row for row in d["models"][model] if row["call"] == name)[field]


def over_bare(model: str, most_us: float | None = None, most_ratio: float | None = None) -> tuple[Figure, ...]:
    """What `run_stored` adds to a bare loop on LiteRT."""

    def ratio(d: Any) -> Any:
        row = one(d["models"][model], call="run_stored, taken")
        return {"value": row["ratio"], "ci": row["ratio_ci"]}

    name = "run_stored, taken"
    return (
        Figure(
            f"added to a call of {model}",
            call(model, name, "extra_us"),
            "µs",
            None if most_us is None else at_most(most_us),
            "bare interpreter loop",
            ratio,
        ),
        *(
            ()
            if most_ratio is None
            else (
                Figure(f"a call of {model} over a bare one", call(model, name, "ratio"), "×", at_most(most_ratio)),
                Figure(f"p99 of {model} over a bare loop's", call(model, name, "p99_ratio"), "×", at_most(1.25)),
            )
        ),
    )


def ours_over(model: str, peer: str) -> Figure:
    def row(d: Any) -> Any:
        return one(d["models"][model], way=peer)

    return Figure(
        f"a call of {model}",
        lambda d: one(d["models"][model], way="Runtime")["latency"]["median_us"],
        "µs",
        peer=f"{peer}, bare loop",
        ratio=lambda d: row(d)["ratio_of_ours"],
    )


def pooled(convolutions: int) -> Any:
    return lambda d: d[f"pool, {convolutions}"]["2 threads"]["ratio"]


def alone(name: str) -> Figure:
    """By `edgeloop bench`, without anything around the interpreter."""

    def median(d: Any) -> Any:
        return one(d["results"], name=name)["scenarios"][0]["latency"]["median_us"]

    return Figure(f"a call of {name}, the interpreter alone", median, "µs")


def added(d: Any, name: str, over: str, what: str) -> float:
    its = d["processes"]["10 features"]
    return float(its[name][what] - its[over][what])


def shadowed(field: str) -> Any:
    return lambda d: max(row[field]["value"] for row in d["rows"] if row["bound"] < 1)


def whylogs(d: Any) -> Any:
    return next(row for name, row in d["found"].items() if name.startswith("whylogs"))


SUITES: tuple[Suite, ...] = (
    Suite(
        "runtime",
        "what `Runtime` costs over a hand-written loop on the same interpreter",
        within(1200, script("runtime_overhead.py", "--json")),
        within(180, script("runtime_overhead.py", "--seconds", "0.3", "--calls", "100000", "--json")),
        (
            *over_bare("ad01_int8", most_us=1.0, most_ratio=1.35),
            *over_bare("kws_int8", most_ratio=1.03),
            *over_bare("ad01_float32"),
            Figure(
                "memory after the calls, more than before",
                lambda d: d["growth"]["growth_bytes"] / 1e6,
                "MB",
                at_most(1),
            ),
            Figure(
                "processor time of a call that is observed, on a thread",
                lambda d: one(d["observed"], way="observed on a thread")["cpu_us"],
                "µs",
                peer="bare interpreter loop",
                ratio=lambda d: (
                    one(d["observed"], way="observed on a thread")["cpu_us"] / one(d["observed"], way="bare")["cpu_us"]
                ),
            ),
        ),
        (shared("models"),),
    ),
    Suite(
        "interpreters",
        "`Runtime` beside bare loops on LiteRT and on tflite-runtime",
        within(900, script("interpreters.py", "--json")),
        within(400, script("interpreters.py", "--turns", "10", "--json")),
        tuple(
            ours_over(model, peer)
            for model in ("ad01_int8", "ad01_float32", "kws_int8")
            for peer in ("LiteRT", "tflite-runtime")
        ),
        (shared("models"),),
    ),
    Suite(
        "models",
        "`edgeloop bench` of published models",
        within(900, ("{python}", "-m", "edgeloop", "bench", *MODELS, "--seconds", "10", "--json")),
        within(300, ("{python}", "-m", "edgeloop", "bench", *MODELS, "--seconds", "1", "--json")),
        (
            Figure("what measuring adds to a call", lambda d: d["instrument_us"], "µs", at_most(0.3)),
            *(alone(name) for name in ("ad01_int8", "ad01_float32", "kws_int8")),
        ),
        (shared("models"),),
    ),
    Suite(
        "throughput",
        "whole ways, from source to sink",
        within(900, script("throughput.py", "--json")),
        within(240, script("throughput.py", "--rounds", "3", "--rows", "100000", "--json")),
        (
            Figure(
                "source to sink, of the bare interpreter's rate",
                lambda d: d["source to sink"]["stream"]["ratio"],
                "×",
                at_least(0.9),
            ),
            *(
                Figure(
                    f"a pool of two on two threads, of one on one; {n} convolutions", pooled(n), "×", better="higher"
                )
                for n in (0, 1, 4, 18)
            ),
            Figure(
                "Parquet rows scored",
                lambda d: d["parquet"]["table"]["per_s"],
                "/s",
                peer="one by one",
                ratio=lambda d: d["parquet"]["table"]["ratio"],
                better="higher",
            ),
        ),
        (module("pyarrow", "tables"),),
    ),
    Suite(
        "profile",
        "a table of 10 features and 20 bins, profiled",
        within(900, script("profiling.py", "--json")),
        within(400, script("profiling.py", "--rounds", "3", "--rows", "50000", "--json")),
        (
            Figure(
                "rows profiled",
                lambda d: d["found"]["edgeloop"]["rows_per_s"],
                "/s",
                at_least(2e6),
                "whylogs",
                lambda d: d["found"]["edgeloop"]["rows_per_s"] / whylogs(d)["rows_per_s"],
                "higher",
            ),
            Figure(
                "a window's profile",
                lambda d: d["found"]["edgeloop"]["bytes"],
                "B",
                at_most(1000),
                "whylogs",
                lambda d: d["found"]["edgeloop"]["bytes"] / whylogs(d)["bytes"],
            ),
        ),
    ),
    Suite(
        "observing",
        "what profiling and sampling take of a processor, with their cap and without",
        within(300, script("observing.py", "--json")),
        within(60, script("observing.py", "--seconds", "2", "--json")),
        (
            Figure(
                "processor that observing takes, capped at a tenth", lambda d: d["10 %"]["share"], "×", at_most(0.1)
            ),
            Figure("inputs that are profiled under the cap", lambda d: d["10 %"]["profiled"], "×"),
            Figure("inferences a second under the cap", lambda d: d["10 %"]["runs_per_s"], "/s", better="higher"),
            Figure("… without it", lambda d: d["100 %"]["runs_per_s"], "/s", better="higher"),
        ),
        (shared("models"),),
    ),
    Suite(
        "shadow",
        "what a shadow does to the first model's latency",
        within(900, script("shadow.py", "--json")),
        within(240, script("shadow.py", "--seconds", "4", "--json")),
        (
            Figure("mean latency beside a bounded shadow", shadowed("mean_ratio"), "×", at_most(1.05)),
            Figure("median latency beside a bounded shadow", shadowed("median_ratio"), "×"),
        ),
        (shared("models"),),
    ),
    Suite(
        "footprint",
        "what edgeloop adds to a process over numpy and LiteRT",
        within(900, script("footprint.py", "--json")),
        within(300, script("footprint.py", "--runs", "3", "--json")),
        (
            Figure(
                "memory that an observed Runtime adds",
                lambda d: added(d, "observed loop", "bare loop", "median_bytes") / 1e6,
                "MB",
                at_most(15),
                "bare interpreter loop",
            ),
            Figure(
                "`import edgeloop`",
                lambda d: added(d, "edgeloop", "interpreter", "median_ms"),
                "ms",
                at_most(60),
                "importing the interpreter",
            ),
        ),
        (shared("models"),),
    ),
    Suite(
        "startup",
        "`edgeloop --help`",
        within(120, script("startup.py")),
        within(120, script("startup.py")),
        (
            Figure(
                "`edgeloop --help`, promised of the bare install",
                lambda d: d["edgeloop --help"]["median_ms"],
                "ms",
                at_most(150),
                "python -c pass",
                lambda d: d["edgeloop --help"]["median_ms"] / d["python -c pass"]["median_ms"],
            ),
        ),
        (on_path("edgeloop"),),
    ),
    Suite(
        "micro",
        "single calls: preprocessing, sampler, outbox, codec, monitor",
        within(900, MICRO),
        within(300, (*MICRO, "--benchmark-max-time", "0.3")),
        (
            micro("preprocessing: scale 32×32×3", "scale 32x32x3 to float", "numpy by hand"),
            micro(
                "preprocessing: resize 240×320×3 to 96×96, normalize",
                "resize 240x320x3 to 96x96, normalize",
                "OpenCV or Pillow",
            ),
            micro(
                "preprocessing: log-mel of a second",
                "log-mel of a second, 49 frames of 40 bands",
                "numpy's FFT and BLAS by hand",
            ),
            micro("sampler: pick 20 of 1,000", "pick 20 of 1,000 inputs by three scores", "numpy's choice"),
            micro("outbox: put one message of 1 kB", "outbox: put 1 message of 1 kB", "bare sqlite3, ready bytes"),
            micro("outbox: put 32 messages of 1 kB", "outbox: put 32 messages of 1 kB", "bare sqlite3, ready bytes"),
            micro("codec: encode a frame of 256 B", "codec: encode a frame of 256 B", "cobs (in C), zlib.crc32"),
            micro("codec: decode a frame of 256 B", "codec: decode a frame of 256 B", "cobs (in C), zlib.crc32"),
            micro("monitor: a window of 10 features", "monitor: p-values of a window of 10 features", "scipy by hand"),
        ),
        (module("pytest_benchmark", "bench"), module("scipy", "dev")),
    ),
)
