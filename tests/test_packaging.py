"""The wheel, not the checkout: what it holds, and what it can do on a device where nothing else is installed."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeloop.artifact import write_artifact
from tiny_models import tiny_artifact
from tree import PACKAGES, REPO

NOT_ON_A_DEVICE = ("tensorflow", "keras", "deltalake", "pyarrow", "iotcore", "sklearn", "plotly", "serial", "pytest")
SLOW_TO_IMPORT = ("numpy", "msgspec", "cryptography", "paho", "ai_edge_litert", "asyncio")
NO_NETWORK = ("NameResolutionError", "NewConnectionError", "ConnectTimeoutError")


@dataclass(frozen=True)
class Bare:
    """A virtual environment with the wheel and what it requires, and no extra."""

    bin: Path

    def run(self, command: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment; the checkout is not on its path."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
        line = [str(self.bin / command), *args]
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def python(self, code: str, *args: str, cwd: Path) -> str:
        """What `code` prints; it must end well."""
        done = self.run("python", "-I", "-W", "error", "-c", code, *args, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves its folders behind, and would take stale ones along."""
    clean = tmp_path_factory.mktemp("tree")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, clean)
    for root in PACKAGES.values():
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(root, clean / root.relative_to(REPO), ignore=ignore)
    out = clean / "dist"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(clean)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """Where a device's user has run `pip install edgeloop`."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    done = subprocess.run(
        [*pip, "--constraint", str(REPO / "constraints.txt"), str(wheel)], capture_output=True, text=True, check=False
    )
    if "CI" not in os.environ and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("the package index can't be reached, so the wheel can't be installed")
    assert done.returncode == 0, done.stdout + done.stderr
    return Bare(folder / "bin")


def test_the_wheel_holds_every_file_of_the_five_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        str(Path(package) / file.relative_to(root))
        for package, root in PACKAGES.items()
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == wanted, "setup.cfg lists packages and package_data by hand"
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_every_registered_command_stands_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode())
    for target in entry_points["edgeloop.commands"].values():
        path = target.partition(":")[0].replace(".", "/")
        assert f"{path}.py" in names or f"{path}/__init__.py" in names


def test_the_license_goes_with_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_the_bare_install_imports_without_what_extras_bring(bare: Bare, tmp_path: Path) -> None:
    code = "import edgeloop, importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert bare.python(code, *NOT_ON_A_DEVICE, cwd=tmp_path) == "[]"


def test_the_bare_install_runs_an_artifact(bare: Bare, tmp_path: Path) -> None:
    write_artifact(tmp_path / "tiny.tflite", tiny_artifact())
    code = """
import numpy as np
from edgeloop import Runtime

with Runtime("tiny.tflite") as runtime:
    print(runtime.manifest.name, runtime.run(np.array([0, 3, 0, 0])).index)
"""
    assert bare.python(code, cwd=tmp_path) == "tiny 1"


def test_help_on_the_bare_install_lists_its_commands_and_names_the_extras(bare: Bare, tmp_path: Path) -> None:
    done = bare.run("edgeloop", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = {words[0] for line in done.stdout.splitlines() if line.startswith("    ") and (words := line.split())}
    assert {"agent", "bench", "inspect", "keygen", "run", "sign"} <= listed
    assert not {"bridge", "convert", "demo", "ingest"} & listed
    assert "bridge [bridge]" in " ".join(done.stdout.split())


def test_a_command_without_its_extra_says_which_to_install(bare: Bare, tmp_path: Path) -> None:
    done = bare.run("edgeloop", "bridge", "ports", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'edgeloop[bridge]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_imports_nothing_that_is_slow(bare: Bare, tmp_path: Path) -> None:
    code = """
import sys
from edgeloop.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
print([name for name in sys.argv[1:] if name in sys.modules])
"""
    assert bare.python(code, *SLOW_TO_IMPORT, cwd=tmp_path).splitlines()[-1] == "[]"
