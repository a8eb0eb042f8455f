"""The house's floors, read from the source: who may import whom, and what may be imported when."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeloop
from tree import PACKAGES, REPO

# What each package may import of the others: arrows point down, and nothing imports the fleet.
BELOW = {
    "edgeloop": set(),
    "edgeloop_converters": {"edgeloop"},
    "edgeloop_bridge": {"edgeloop"},
    "edgeloop_bench": {"edgeloop", "edgeloop_converters", "edgeloop_bridge"},
    "edgeloop_fleet": {"edgeloop", "edgeloop_converters", "edgeloop_bridge", "edgeloop_bench"},
}

# In no package is one of these in the bare install, so a module that imports one at its top can't even be looked at
# there (`edgeloop --help` imports every module of commands).
FROM_EXTRAS = {
    "PIL", "cv2", "daft", "deltalake", "iotcore", "keras", "litert_quantizer", "miniaudio", "plotly", "pyarrow", "rich",
    "serial", "sklearn", "tensorflow", "tf_keras", "tflite_runtime",
}  # fmt: skip

# Nothing of the centre runs without its lake: there these are no extras. What the command line imports is held apart.
OWN_EXTRA = {"fleet": frozenset({"deltalake", "pyarrow", "rich"})}

PUBLIC = [
    "Agent",
    "Artifact",
    "Baseline",
    "Manifest",
    "Outbox",
    "Prediction",
    "Profile",
    "Profiler",
    "Runtime",
    "RuntimePool",
    "SourceItem",
    "fit_baseline",
    "pack_artifact",
    "read_artifact",
    "write_artifact",
]


def modules() -> list[Path]:
    return [file for root in PACKAGES.values() for file in sorted(root.rglob("*.py"))]


def imported(nodes: list[ast.stmt]) -> Iterator[str]:
    """The modules named by absolute imports among `nodes`, by their full names."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: not in functions, nor under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def top_level_name(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_floor_imports_only_those_below_it(package: str) -> None:
    for file in sorted(PACKAGES[package].rglob("*.py")):
        statements = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.stmt)]
        names = {top_level_name(m) for m in imported(statements)}
        forbidden = (names & set(PACKAGES)) - BELOW[package] - {package}
        assert not forbidden, f"{file.relative_to(REPO)} imports {sorted(forbidden)}"


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(REPO)))
def test_what_an_extra_brings_is_imported_where_it_is_used(file: Path) -> None:
    names = {top_level_name(m) for m in imported(list(at_import(ast.parse(file.read_text()).body)))}
    assert not names & (FROM_EXTRAS - OWN_EXTRA.get(file.relative_to(REPO).parts[0], frozenset()))


@pytest.mark.parametrize("package", PACKAGES)
def test_what_the_command_line_imports_needs_no_extra(package: str) -> None:
    for file in PACKAGES[package].rglob("*.py"):
        if file.name in ("__init__.py", "commands.py"):
            names = {top_level_name(m) for m in imported(list(at_import(ast.parse(file.read_text()).body)))}
            assert not names & FROM_EXTRAS, file.relative_to(REPO)


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(REPO)))
def test_no_relative_imports(file: Path) -> None:
    relative = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative, "absolute imports only: a module's floor shows in its imports"


def test_the_tests_mirror_the_house() -> None:
    roots = {root.parent.name: root for root in PACKAGES.values()}
    tests = REPO / "tests"
    for folder in (p for p in tests.rglob("*") if p.is_dir() and any(p.glob("*.py"))):
        root, *inner = folder.relative_to(tests).parts
        if root == "support":
            continue
        assert root in roots, f"tests/{root} mirrors none of {sorted(roots)}"
        assert roots[root].joinpath(*inner).is_dir(), f"{folder.relative_to(REPO)} mirrors no package"


def test_the_public_face_is_what_is_pinned_here() -> None:
    assert edgeloop.__all__ == PUBLIC
    assert sorted(edgeloop.__all__) == edgeloop.__all__


def test_every_public_name_is_there() -> None:
    for name in edgeloop.__all__:
        assert getattr(edgeloop, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = edgeloop.no_such_name  # type: ignore[attr-defined]
