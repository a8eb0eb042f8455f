"""`edgeloop bench --on`: the same benchmark on other devices, one after another, and their results side by side.

Results of several devices are never mixed into one ratio: each is the device's own, whole. A device that fails is
told, and the others' results are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeloop.cli import Result
from edgeloop.errors import BrokerError, ConfigError, MessageError, PlaceError
from edgeloop.job import unmark_answer
from edgeloop.jobkinds import encode_kind_job
from edgeloop_bench.compare import PASSES, Pass
from edgeloop_bench.farm_job import make_bench_job
from edgeloop_bench.result import BenchResult, Settings, Verdict
from edgeloop_bench.table import align, as_table
from edgeloop_converters.places import MqttPlace, Place, open_place

__all__ = ["Failed", "Measured", "as_result", "as_text", "run_on"]

EMULATED = "measured in an emulator: its times are not the device's"
BESIDE_AN_AGENT = "measured beside the device's own work, at a low priority"


@dataclass(frozen=True)
class Measured:
    """A place's result.

    Args:
        place: as the user wrote it.
        result: its own.
    """

    place: str
    result: BenchResult


@dataclass(frozen=True)
class Failed:
    """A place that gave no result: as the user wrote it, and why."""

    place: str
    reason: str


def run_on(
    places: Sequence[str | Place],
    paths: Sequence[str],
    settings: Settings,
    *,
    passes: tuple[Pass, ...] = PASSES,
    label: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> list[Measured | Failed]:
    """Measure the artifacts at each place, one place after another: two on one machine would disturb each other.

    Args:
        places: `ssh://…`, `mqtt://BROKER/DEVICE`, `emulated-arm64`… (see `open_place`), each once.
        paths: of the artifacts; over MQTT they must be signed by a key that the device trusts.
        settings: how.
        passes: see `compare`.
        label: the user's, for the history.
        progress: is told of each place before it is asked.

    Returns:
        One for each place, in their order. What comes of an emulator is INVALID, and says so. Ctrl-C ends it, and what
        was measured by then is returned.

    Raises:
        OSError: an artifact can't be read.
        ConfigError: a place names none, or is given twice.
    """
    opened = [open_place(place) if isinstance(place, str) else place for place in places]
    names = [place.name for place in opened]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"--on {twice[0]} was given twice: once is enough, it measures its own noise")
    artifacts = [(Path(path).name, Path(path).read_bytes()) for path in paths]
    job = encode_kind_job(make_bench_job(artifacts, settings, passes, label))
    found: list[Measured | Failed] = []
    for place in opened:
        progress(f"on {place.name}")
        try:
            found.append(Measured(place.name, _ask(place, job)))
        except (PlaceError, BrokerError, MessageError) as error:
            # A place's own messages begin with its name.
            found.append(Failed(place.name, str(error).removeprefix(f"{place.name}: ")))
        except KeyboardInterrupt:
            left = opened[len(found) + 1 :]
            found += [Failed(place.name, "interrupted"), *(Failed(other.name, "not begun") for other in left)]
            break
    return found


def as_result(found: Sequence[Measured | Failed]) -> Result:
    """What the command gives back: a document for each place, in their order; it doesn't hold where a place failed.

    Raises:
        PlaceError: not one place gave a result.
    """
    if not any(isinstance(each, Measured) for each in found):
        raise PlaceError("; ".join(f"{each.place}: {each.reason}" for each in found if isinstance(each, Failed)))
    places = [
        {"on": each.place, "result": msgspec.to_builtins(each.result)}
        if isinstance(each, Measured)
        else {"on": each.place, "error": each.reason}
        for each in found
    ]
    return Result({"places": places}, as_text(found), all(isinstance(each, Measured) for each in found))


def as_text(found: Sequence[Measured | Failed]) -> str:
    """Each place's result as `edgeloop bench` shows it, then the medians side by side."""
    parts = [f"== {each.place}\n{as_table(each.result)}" for each in found if isinstance(each, Measured)]
    if len(parts) > 1:
        parts.append("\n".join(align(_side_by_side([each for each in found if isinstance(each, Measured)]))))
    parts += [f"== {each.place}\nFAILED: {each.reason}" for each in found if isinstance(each, Failed)]
    return "\n\n".join(parts)


def _side_by_side(found: Sequence[Measured]) -> list[list[str]]:
    """A row for each place: what it is, and an artifact's median in each column; times of devices make no ratio."""
    names = [subject.name for subject in found[0].result.results]
    rows = [["place", "board", "verdict", *(f"{name}, median" for name in names)]]
    for each in found:
        machine, verdict = each.result.machine, "VALID" if each.result.verdict.valid else "INVALID"
        medians = [
            f"{its.scenarios[0].latency.median_us:,.1f} µs" if its.scenarios else "–" for its in each.result.results
        ]
        rows.append([each.place, machine.board or f"{machine.cpu} ({machine.arch})", verdict, *medians])
    return rows


def _ask(place: Place, job: bytes) -> BenchResult:
    place.check()
    body = unmark_answer(place.ask(job))
    try:
        result = msgspec.msgpack.decode(body, type=BenchResult)
    except msgspec.DecodeError as error:
        raise MessageError(
            f"no result of a benchmark: {error}: is the same version of edgeloop on both sides?"
        ) from error
    if place.is_emulator:
        return _judged(result, valid=False, reason=EMULATED)
    return _judged(result, valid=result.verdict.valid, reason=BESIDE_AN_AGENT if isinstance(place, MqttPlace) else "")


def _judged(result: BenchResult, *, valid: bool, reason: str) -> BenchResult:
    if not reason:
        return result
    return msgspec.structs.replace(result, verdict=Verdict(valid, (reason, *result.verdict.reasons)))
