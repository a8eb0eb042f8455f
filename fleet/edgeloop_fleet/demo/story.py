"""The demo's story: train, convert, run, watch, label, retrain, deploy, judge. Its figures are in `verdict.Story`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.artifact import write_artifact
from edgeloop.errors import GateError
from edgeloop.preprocessing import Scale
from edgeloop.signing import PrivateKey, generate_key
from edgeloop_converters.conversion import Converted, convert
from edgeloop_converters.data import Dataset
from edgeloop_converters.models import load_keras
from edgeloop_fleet.broker import EmbeddedBroker
from edgeloop_fleet.centre import Centre
from edgeloop_fleet.demo.camera import Lens, Scene, frame_of
from edgeloop_fleet.demo.devices import DemoDevice, running
from edgeloop_fleet.demo.digits import Digits, Pool, load_digits, save_pools
from edgeloop_fleet.demo.network import EPOCHS, PIXEL_SCALE, train
from edgeloop_fleet.demo.verdict import Ledger, Moments, Story, measure_accuracy, reconcile
from edgeloop_fleet.labels import Identity, add_labels, label_queue, labelled_set
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.progress import Progress
from edgeloop_fleet.retrain import retrain_warm

__all__ = ["run_story"]

DEVICES = ("cam-1", "cam-2", "cam-3")
BAD = ("cam-2", "cam-3")
_WORST: Lens = "worn"

_BEFORE_S, _BLURRED_S, _WORN_S, _AFTER_S = 12.0, 6.0, 16.0, 12.0
_ALARM_TIMEOUT_S = 60.0
_MAX_LABELS = 600
_RETRAIN_EPOCHS = 25
_SHARE_TO_GATE = 0.25  # of the labelled samples: they judge the new model, and it never trains on them


@dataclass
class _Stage:
    """What all parts of the story need."""

    digits: Digits
    directory: Path
    seed: int
    key: PrivateKey
    progress: Progress


def run_story(directory: Path, *, seed: int, progress: Progress) -> Story:
    """Run the demo in `directory`, which must be empty, and give what was measured.

    Raises:
        GateError: a conversion lost too much, no alarm came in time, or a device didn't take the new model.
        EdgeloopError: a device or the broker failed.
    """
    directory = directory.resolve()
    stage = _Stage(load_digits(), directory, seed, generate_key(directory / "key.pem"), progress)
    save_pools(stage.digits, directory / "pools.npz")
    first = _first_model(stage)
    devices = [DemoDevice(name, directory / name, seed * 100 + i) for i, name in enumerate(DEVICES)]
    with EmbeddedBroker(directory / "broker") as broker, running(devices):
        progress.note(f"embedded broker at {broker.url} (MQTT 5), lake in {directory / 'lake'}")
        with Centre(Lake(directory / "lake"), broker.url, artifact=first.artifact, evaluate_s=1.0) as centre:
            return _live(stage, first, devices, centre, broker.url)


def _live(stage: _Stage, first: Converted, devices: list[DemoDevice], centre: Centre, broker: str) -> Story:
    """From the start of the devices to their end."""
    progress = stage.progress
    start = time.time()
    for device in devices:
        device.start(
            broker=broker,
            artifact=stage.directory / "digits-1.tflite",
            trusted_key=stage.directory / "key.pem.pub",
            pools=stage.directory / "pools.npz",
            scene=Scene("before", "good"),
        )
    _wait_for_all(devices, centre)
    progress.wait("devices run; the lenses are good", _BEFORE_S, lambda: _healthy(devices, centre))
    _show(devices, "during", "blurred")
    blurred = time.time()
    progress.wait(f"the lenses of {' and '.join(BAD)} blur", _BLURRED_S, lambda: _healthy(devices, centre))
    _show(devices, "during", _WORST)
    worn = time.time()
    progress.wait("… and lose contrast, and get noisy", _WORN_S, lambda: _healthy(devices, centre))
    alarm = _await_alarm(stage, devices, centre)
    labels = _annotate(stage, centre)
    second = _second_model(stage, centre, labels)
    watched = centre.evaluate()
    _show(devices, "after", _WORST)
    deployed = time.time()
    centre.deploy(second.artifact, DEVICES, timeout_s=60)
    switched = time.time()
    progress.note(f"version 2 deployed over MQTT; all devices run it after {switched - deployed:.1f} s")
    progress.wait("devices run the new model, through the same lenses", _AFTER_S, lambda: _healthy(devices, centre))
    end = time.time()
    reports = {device.name: device.stop() for device in devices}
    lines = {device.name: device.predictions() for device in devices}
    assert watched is not None  # noqa: S101  # the centre watches an artifact from the start
    return Story(
        seed=stage.seed,
        bad=BAD,
        first=first,
        second=second,
        labels=labels,
        alarms=_alarms(centre, watched.alarms),
        series=watched.series,
        accuracy={
            name: measure_accuracy(lines[name], stage.digits.y, _WORST if name in BAD else "good") for name in DEVICES
        },
        lines=lines,
        truth=stage.digits.y,
        images=stage.digits.pool("during")[0][:10],
        switches={name: int(report["switches"]) for name, report in reports.items()},
        ledger=_reconcile(centre.lake, reports),
        moments=Moments(start, blurred, worn, alarm, deployed, switched, end),
    )


def _first_model(stage: _Stage) -> Converted:
    """Part 1 and 2: train, convert, gate."""
    path = stage.directory / "digits-1.keras"
    x, y = stage.digits.pool("train")
    with stage.progress.bar("train a small CNN on the first writers' digits", EPOCHS) as tick:
        train(x, y, path, seed=stage.seed, on_epoch=tick)
    converted = _convert(stage, load_keras(path), 1, _gate_set(stage))
    write_artifact(stage.directory / "digits-1.tflite", converted.artifact)
    return converted


def _second_model(stage: _Stage, centre: Centre, labels: int) -> Converted:
    """Part 7: retrain warm on what was labelled, convert, gate on old held-out data and new."""
    x, y, _ = labelled_set(centre.lake)
    order = np.random.default_rng(stage.seed).permutation(len(x))
    held = round(len(x) * _SHARE_TO_GATE)
    gate, fresh = order[:held], order[held:]
    with stage.progress.bar(f"retrain, warm, on {labels} labelled samples and the old data", _RETRAIN_EPOCHS) as tick:
        model = retrain_warm(
            stage.directory / "digits-1.keras",
            stage.digits.pool("train"),
            (x[fresh], y[fresh]),
            preprocessing=(Scale(PIXEL_SCALE),),
            epochs=_RETRAIN_EPOCHS,
            seed=stage.seed,
            on_epoch=tick,
        )
    model.save(stage.directory / "digits-2.keras")
    converted = _convert(stage, model, 2, _gate_set(stage, x[gate], y[gate]), x[fresh], y[fresh])
    write_artifact(stage.directory / "digits-2.tflite", converted.artifact)
    return converted


def _convert(stage: _Stage, model: Any, version: int, gate: Dataset, *fresh: Any) -> Converted:
    x, y = stage.digits.pool("train")
    if fresh:
        x, y = np.concatenate([x, fresh[0]]), np.concatenate([y, fresh[1]])
    with stage.progress.spinner(f"convert version {version} to full-integer int8, and gate it"):
        converted = convert(
            model,
            Dataset(x, y, source="training pool"),
            gate,
            name="digits",
            version=version,
            preprocessing=(Scale(PIXEL_SCALE),),
            summary="image",
            max_drop=0.02,
            seed=stage.seed,
            key=stage.key,
        )
    before, after = converted.before, converted.after
    stage.progress.note(
        f"version {version}, float32 → int8: accuracy {before.accuracy:.1%} → {after.accuracy:.1%}, "
        f"{before.size_bytes:,} → {after.size_bytes:,} bytes, "
        f"{before.latency_us:.0f} → {after.latency_us:.0f} µs a call"
    )
    return converted


def _gate_set(stage: _Stage, *fresh: Any) -> Dataset:
    x, y = stage.digits.pool("gate")
    if fresh:
        x, y = np.concatenate([x, fresh[0]]), np.concatenate([y, fresh[1]])
    return Dataset(x, y, source="gate pool")


def _show(devices: list[DemoDevice], pool: Pool, lens: Lens) -> None:
    for device in devices:
        device.show(Scene(pool, lens if device.name in BAD else "good"))


def _healthy(devices: list[DemoDevice], centre: Centre) -> None:
    centre.check()
    for device in devices:
        device.check()


def _wait_for_all(devices: list[DemoDevice], centre: Centre) -> None:
    deadline = time.monotonic() + 60
    while len(centre.devices.snapshot()) < len(devices):
        _healthy(devices, centre)
        if time.monotonic() > deadline:
            raise GateError("the devices don't come up within 60 s: see their log.txt")
        time.sleep(0.1)


def _await_alarm(stage: _Stage, devices: list[DemoDevice], centre: Centre) -> float:
    """Part 6: wait until the monitor has raised an alarm; give when it was opened."""
    from datetime import datetime

    deadline = time.monotonic() + _ALARM_TIMEOUT_S
    while True:
        _healthy(devices, centre)
        report = centre.evaluate()
        if report is not None and report.alarms:
            break
        if time.monotonic() > deadline:
            raise GateError(f"no alarm {_ALARM_TIMEOUT_S:g} s after the lenses went bad")
        time.sleep(0.5)
    for alarm in report.alarms:
        said = f"ALARM {alarm.kind} on {', '.join(alarm.devices)}"
        stage.progress.note(
            "\n".join([said, *(f"  {e.device}: {e.description}" for e in alarm.evidence[:4])]), loud=True
        )
    return datetime.fromisoformat(report.alarms[0].opened).timestamp()


def _annotate(stage: _Stage, centre: Centre) -> int:
    """The annotator: says of each queued sample which digit it was, as the frame's name tells the demo alone."""
    named = {name for alarm in centre.open_alarms for name in alarm.devices}
    queue = label_queue(centre.lake, limit=10 * _MAX_LABELS)
    fresh = [sample for sample in queue if sample.identity[0] in named and frame_of(sample.ref)[0] == "during"]
    truth: dict[Identity | str, int] = {
        sample.identity: int(stage.digits.y[frame_of(sample.ref)[2]]) for sample in fresh[:_MAX_LABELS]
    }
    count = add_labels(centre.lake, truth, annotator="demo")
    stage.progress.note(f"{count} samples, which the devices picked themselves, were labelled")
    return count


def _alarms(centre: Centre, before_deployment: tuple[Any, ...]) -> tuple[Any, ...]:
    """The alarms of both models: the new one must not raise any."""
    report = centre.evaluate()
    return before_deployment + (report.alarms if report is not None else ())


def _reconcile(lake: Lake, reports: dict[str, dict[str, Any]]) -> dict[str, Ledger]:
    stored: dict[str, list[tuple[int, int]]] = {name: [] for name in reports}
    for table in ("samples", "profiles", "events"):
        for row in lake.read(table, ("device", "epoch", "seq")).to_pylist():
            stored[row["device"]].append((row["epoch"], row["seq"]))
    return {name: reconcile(r["epoch"], r["outbox"]["put"], stored[name]) for name, r in reports.items()}
