"""`make test-pi`: the Raspberry Pi's userland in an emulator, against this machine.

The built wheel is installed bare into a Debian root of the Pi's processor; the runtime's tests run there; and the same
int8 files answer the same inputs here and there. With the reference kernels the answers are the same to the bit. With
the default ones they aren't, so it is measured how far apart they are, and how often the top answer is the same one.

A table goes to standard output, all figures to out/pi.json. Exit code 1 where bits differ with the same version of the
interpreter, or less than 99.5 % of the top answers on real images agree. It needs root, for debootstrap and chroot, and
no network once the roots are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from subjects import Subject, subjects

from edgeloop.errors import EdgeloopError, PlaceError
from edgeloop.files import write_atomic
from edgeloop.job import answer, make_job
from edgeloop.machine import describe_machine
from edgeloop_converters.places import EmulatedPlace, open_place, run_at
from edgeloop_converters.places.difference import difference
from edgeloop_converters.quiet import quiet_tensorflow, silenced

REPO = Path(__file__).resolve().parents[2]
LITERT = "ai-edge-litert"
LEAST_AGREEMENT = 0.995
EXACT_SAMPLES = 50  # the reference kernels are some hundred times slower, and the emulator again
NO_SCHEMA = "their models are built with LiteRT's schema, and LiteRT has no 32-bit wheel"
# The runtime's tests, and what in them starts a process: the emulator runs one program, and none that it starts.
STARTS_PROCESSES = ("full_disk", "disk_that", "sigkill", "raspberry_pi_tells")
TESTS = (
    "test_artifact.py", "test_batching.py", "test_encoding.py", "test_histogram.py", "test_outbox.py",
    "test_profile.py", "test_runtime.py", "test_sampler.py", "test_stats.py", "preprocessing/test_steps.py",
)  # fmt: skip


def main() -> int:
    """Build the roots, run the tests, compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("arm64", "armhf"), help="one architecture alone")
    parser.add_argument("-o", "--output", type=Path, default=REPO / "out/pi.json", help="where the figures go")
    args = parser.parse_args()
    quiet_tensorflow()
    found: dict[str, Any] = {
        "here": msgspec.to_builtins(describe_machine()),
        "rows": [],
        "tests": {},
        "preprocessing": {},
        "skipped": {},
    }
    wanted, ready = [args.only] if args.only else ["arm64", "armhf"], []
    for arch in wanted:
        try:
            build_root(arch)
            found["preprocessing"][arch] = check_preprocessing(arch)
            if arch == "arm64":
                found["tests"][arch] = run_tests(arch)
            else:
                found["skipped"][f"the runtime's tests on {arch}"] = NO_SCHEMA
                say(f"{arch}: the runtime's tests are left out: {NO_SCHEMA}")
            ready.append(arch)
        except PlaceError as error:
            found["skipped"][arch] = str(error)
            say(f"{arch}: {error}")
    boards = {"arm64": ("rpi4", "rpi5"), "armhf": ("rpi2",)}
    there = [f"emulated-{arch}:{board}" for arch in ready for board in boards[arch]]
    if there:
        say(f"{'':22}{'':22}{'kernels':11}{'n':>6}{'steps':>7}{'mean':>8}{'top-1':>9}{'accuracy here':>15}{'there':>8}")
        for subject in subjects():
            for place in there:
                found["rows"] += compare(subject, place)
    held = [*(r["holds"] for r in found["rows"]), *(t["ok"] for t in found["tests"].values())]
    held += [*found["preprocessing"].values(), bool(found["rows"])]
    # armhf is tried: what keeps it from being installed is told, and is no failure.
    found["holds"] = all(held) and "arm64" not in found["skipped"]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(args.output, json.dumps(found, indent=2) + "\n")
    say(f"{args.output}; {'all of it holds' if found['holds'] else 'NOT all of it holds'}")
    return 0 if found["holds"] else 1


def say(line: str) -> None:
    """A line on standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def build_root(arch: str) -> None:
    """Make the root, or bring this tree's wheel into it. Raises `PlaceError`."""
    script = REPO / "scripts/emulated_root.sh"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([script, arch], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise PlaceError(lines[-1] if lines else f"{script.name} ended with {done.returncode}")
    say(done.stdout.strip().splitlines()[-1])


def root_of(arch: str) -> EmulatedPlace:
    """The place, with the tests in its /opt/tests."""
    place = open_place(f"emulated-{arch}")
    assert isinstance(place, EmulatedPlace)  # noqa: S101  # for the type checker
    copy = place.folder / "opt/tests"
    shutil.rmtree(copy, ignore_errors=True)
    for part in ("tests/sdk", "tests/support"):
        shutil.copytree(REPO / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("tests/conftest.py", "pyproject.toml", "setup.cfg"):
        shutil.copy(REPO / part, copy / part)
    return place


def check_preprocessing(arch: str) -> bool:
    """Whether every preprocessing step makes the same bits there as here."""
    cases = "tests/support/preprocessing_cases.py"
    here = subprocess.run([sys.executable, REPO / cases], capture_output=True, check=True).stdout
    there = root_of(arch).run(("/opt/edgeloop/bin/python", f"/opt/tests/{cases}"))
    found = [json.loads(said) for said in (here, there)]
    others = [name for name, digest in found[0]["digests"].items() if found[1]["digests"].get(name) != digest]
    said = f"NOT the same: {', '.join(others)}" if others else "the same bits"
    say(f"{arch}: preprocessing with numpy {found[1]['numpy']} there and {found[0]['numpy']} here: {said}")
    return not others


def run_tests(arch: str) -> dict[str, Any]:
    """The SDK's tests on the bare install in there; pytest and hypothesis stand beside it."""
    place = root_of(arch)
    files = [f"/opt/tests/tests/sdk/{name}" for name in TESTS]
    options = [
        "-q",
        "--rootdir=/opt/tests",
        "-c",
        "/opt/tests/pyproject.toml",
        "-o",
        "timeout=1200",
        "-k",
        " and ".join(f"not {word}" for word in ("tensorflow", *STARTS_PROCESSES)),  # a bare install has no TensorFlow
        "--hypothesis-profile=ci",  # no limits on time, which passes otherwise in there
    ]
    code = (
        "import os, sys; os.chdir('/tmp'); os.environ['COLUMNS'] = '250'; sys.path.append('/opt/tools'); "
        f"import pytest; code = pytest.main({[*options, *files]!r}); print(); sys.exit(0 if code in (0, 1) else code)"
    )
    said = place.run(("/opt/edgeloop/bin/python", "-c", code)).decode()
    last = [line for line in said.splitlines() if line.strip()][-1]
    say(f"{arch}: the runtime's tests: {last}")
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    for line in failed:
        say(f"  {line}")
    return {"said": last, "ok": not failed and "passed" in last, "failed": failed}


def compare(subject: Subject, name: str) -> list[dict[str, Any]]:
    """One row with the reference kernels, one with the default ones."""
    place, rows = open_place(name), []
    for kernels, count in (("reference", EXACT_SAMPLES), ("default", len(subject.x))):
        x, y = subject.x[:count], None if subject.y is None else subject.y[:count]
        start_s = time.monotonic()
        with silenced():
            here = answer(make_job(subject.artifact.to_bytes(), x, kernels=kernels)).arrays()
        try:
            there = run_at(place, subject.artifact, x, kernels=kernels)
        except EdgeloopError as error:
            say(f"{subject.name:22}{name:22}{kernels:11}  {error}")
            rows.append(
                {"subject": subject.name, "place": name, "kernels": kernels, "error": str(error), "holds": False}
            )
            continue
        d = difference(subject.artifact.manifest.outputs, here, there.outputs)
        accuracy = [None if y is None else _accuracy(side, y) for side in (here, there.outputs)]
        # Between two versions of the interpreter the reference kernels may differ as well: on x86, too.
        other = there.machine.libraries.get(LITERT) != describe_machine().libraries.get(LITERT)
        exact = d.is_equal or other
        holds = exact if kernels == "reference" else y is None or d.agreement >= LEAST_AGREEMENT
        apart = f"{d.max_steps!s:>7}{d.mean_steps or 0:>8.4f}{d.agreement:>9.2%}"
        shown = ["" if a is None else f"{a:.4f}" for a in accuracy]
        say(
            f"{subject.name:22}{name:22}{kernels:11}{d.n:>6}{apart}"
            f"{shown[0]:>15}{shown[1]:>8}  {'equal to the bit' if d.is_equal else ''}"
            f"{'' if holds else '  MISSED'}{'  (another interpreter)' if other and not d.is_equal else ''}"
        )
        rows.append(
            {
                "subject": subject.name,
                "place": name,
                "kernels": kernels,
                "inputs": "random" if y is None else "real",
                "backend": there.backend,
                "libraries": there.machine.libraries,
                **msgspec.to_builtins(d),
                "accuracy_here": accuracy[0],
                "accuracy_there": accuracy[1],
                "is_another_interpreter": other,
                "arch_here": platform.machine(),
                "seconds": round(time.monotonic() - start_s, 1),
                "holds": holds,
            }
        )
    return rows


def _accuracy(outputs: dict[str, Any], y: Any) -> float:
    first = next(iter(outputs.values()))
    return float(np.mean(first.reshape(len(first), -1).argmax(axis=1) == y))


if __name__ == "__main__":
    sys.exit(main())
