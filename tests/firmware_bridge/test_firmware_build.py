"""The firmware for all cores: what it takes, and what is said of its source."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware import CORES, FIRMWARE, make, sizes_of

FLASH_BYTES, RAM_BYTES = 12_000, 4_096
# The deepest way down: END computes a SHA-256. An interrupt may come on top of it.
DEEPEST = ("reset_handler", "el_poll", "el_on_end", "intact", "el_sha256", "block")
INTERRUPT_BYTES = 64


@pytest.fixture(scope="session")
def built(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("arm-none-eabi-gcc", "make")
    build = tmp_path_factory.mktemp("boards")
    make(build, *(f"{build}/{board}.elf" for board in CORES))
    return build


@pytest.mark.parametrize("board", CORES)
def test_it_is_small_on_every_core(board: str, built: Path, record_property: Callable[[str, object], None]) -> None:
    sizes = sizes_of(built / f"{board}.elf")
    stack = stack_of(built, board)
    record_property("bytes", {**sizes, "stack": stack})
    assert sizes["data"] == 0
    assert sizes["text"] < FLASH_BYTES
    assert sizes["bss"] + stack < RAM_BYTES


def stack_of(build: Path, board: str) -> int:
    """Of the deepest way down, and an interrupt."""
    found = {}
    for usage in build.glob(f"{board}.elf-*.su"):
        for line in usage.read_text().splitlines():
            where, size, kind = line.split("\t")
            assert kind == "static", line
            found[where.rsplit(":", 1)[1]] = int(size)
    return sum(found[name] for name in DEEPEST) + INTERRUPT_BYTES


def test_there_is_no_heap(built: Path) -> None:
    for board in CORES:
        listed = subprocess.run(
            ["arm-none-eabi-nm", str(built / f"{board}.elf")], check=True, capture_output=True, text=True
        )
        names = {line.split()[-1] for line in listed.stdout.splitlines()}
        assert "el_poll" in names
        assert not names & {"malloc", "free", "_malloc_r", "_sbrk", "calloc", "realloc"}


def test_the_hal_has_little_more_than_a_dozen_functions() -> None:
    header = (FIRMWARE / "include" / "el_hal.h").read_text()
    assert len(re.findall(r"\b(el_hal_\w+)\(", header)) <= 14


def test_cppcheck_finds_nothing(needs: Callable[..., None], tmp_path: Path) -> None:
    needs("cppcheck", "make")
    make(tmp_path, "check")


@pytest.mark.slow
def test_fuzzing_finds_nothing(needs: Callable[..., None], tmp_path: Path) -> None:
    needs("clang", "make")
    make(tmp_path, "fuzz", FUZZ_SECONDS=20)
