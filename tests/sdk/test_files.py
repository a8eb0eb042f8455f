from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeloop.files import check_writable, write_all_atomic, write_atomic


@contextmanager
def full_at_10_kb() -> Iterator[None]:
    """No file may grow past 10 kB, which to a program is a disk that is full; to the log that pytest writes, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_several_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("old")
    with full_at_10_kb(), pytest.raises(OSError, match=r"page'$") as caught:
        write_all_atomic({tmp_path / "model": b"new", tmp_path / "page": "x" * 20_000})
    assert caught.value.filename == str(tmp_path / "page")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "old"
    write_all_atomic({tmp_path / "model": b"new", tmp_path / "page": "short"})
    assert (tmp_path / "model").read_text() == "new"
    assert (tmp_path / "page").read_text() == "short"


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    for check in (check_writable, lambda path: write_atomic(path, b"x")):
        with pytest.raises(FileNotFoundError) as caught:
            check(tmp_path / "none" / "model")
        assert caught.value.filename == str(tmp_path / "none" / "model")
        with pytest.raises(IsADirectoryError) as caught_folder:
            check(tmp_path)
        assert caught_folder.value.filename == str(tmp_path)


def test_looking_whether_a_file_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    check_writable(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "model")
