"""The runtime on tflite-runtime and numpy 1, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeloop.artifact import write_artifact
from edgeloop.manifest import Golden
from edgeloop.runtime import Runtime
from tree import PACKAGES, REPO

PROGRAM = """
import json, sys
import numpy as np
from edgeloop.errors import InputError
from edgeloop.runtime import Runtime

assert np.__version__.startswith("1."), np.__version__
x = np.load(sys.argv[2])
with Runtime(sys.argv[1], backend="tflite-runtime", threads="auto") as runtime:
    found = {"backend": runtime.backend, "in_place": not runtime._backend.memory.flags.owndata}
    found["run"] = [runtime.run(row, ref=str(i)).output.tolist() for i, row in enumerate(x)]
    found["run_stored"] = [runtime.run_stored(row[None]).output.tolist() for row in x]
    found["run_batch"] = runtime.run_batch(x).tolist()
    found["answers"] = [runtime.run(x[0].astype(dtype)).index for dtype in ("f8", "i4", "u1", ">f4")]
    seen = runtime.take_seen()
    found["seen"] = seen.inputs[: len(x)].tolist()
    found["refused"] = []
    for wrong in (np.zeros(5), np.full(4, np.nan), np.array(["a"] * 4), None, np.full(4, 1e300)):
        try:
            runtime.run(wrong)
        except InputError as error:
            found["refused"].append(str(error))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def legacy_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has edgeloop[legacy]: the one that EDGELOOP_LEGACY_PYTHON names, or one that is made."""
    if named := os.environ.get("EDGELOOP_LEGACY_PYTHON"):
        return Path(named)
    python = next((found for v in ("3.11", "3.10") if (found := shutil.which(f"python{v}"))), None)
    if python is None:
        pytest.skip("no Python 3.10 or 3.11, which tflite-runtime has wheels for")
    folder = tmp_path_factory.mktemp("legacy")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder)
    for root in PACKAGES.values():
        shutil.copytree(root, folder / root.relative_to(REPO), ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
    made = folder / "venv" / "bin" / "python"
    command = [str(made), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{folder}[legacy]"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"edgeloop[legacy] can't be installed here: {installed.stderr.strip().splitlines()[-1]}")
    return made


@pytest.mark.slow
def test_it_answers_sees_and_refuses_as_litert_does(make_artifact, legacy_python: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    here = Runtime(make_artifact())
    golden = Golden((x[:1].tobytes(),), (here.run(x[0]).output.tobytes(),), atol=1e-4)
    write_artifact(tmp_path / "tiny.tflite", make_artifact(golden=golden))
    np.save(tmp_path / "x.npy", x)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}
    if "EDGELOOP_LEGACY_PYTHON" in os.environ:
        environment["PYTHONPATH"] = str(REPO / "sdk")
    done = subprocess.run(
        [str(legacy_python), "-c", PROGRAM, str(tmp_path / "tiny.tflite"), str(tmp_path / "x.npy")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["backend"], found["in_place"]) == ("tflite-runtime", True)
    expected = here.run_batch(x)
    for name in ("run", "run_stored", "run_batch"):
        assert np.array(found[name]) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(np.array(found["seen"], np.float32), x)
    assert len(found["refused"]) == 5
    assert (tmp_path / "edgeloop" / "threads.json").exists()
