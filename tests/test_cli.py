"""The frame around every sub-command: what is printed where, and with which exit code."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgeloop import cli
from edgeloop.cli import Command, Result
from edgeloop.errors import ConfigError, GateError

Run = Callable[[argparse.Namespace], Result]


def no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def raising(error: BaseException) -> Run:
    def run(_: argparse.Namespace) -> Result:
        raise error

    return run


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `edgeloop it` the only command."""

    def register(run: Run, **options: object) -> None:
        command = Command("does it", no_arguments, run, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(cli, "find_commands", lambda: {"it": command})

    return register


def test_a_result_is_printed_as_text(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda _: Result({"n": 1}, "one thing\n"))
    assert cli.main(["it"]) == 0
    assert capsys.readouterr().out == "one thing\n"


def test_a_command_that_can_not_be_imported_is_left_out_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    group = "edgeloop.commands"
    entries = [
        EntryPoint("broken", "no_such_module:COMMAND", group),
        EntryPoint("gone", "edgeloop.cli.inspect:NO_SUCH_NAME", group),
        EntryPoint("inspect", "edgeloop.cli.inspect:COMMAND", group),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)
    assert list(cli.find_commands()) == ["inspect"]
    told = capsys.readouterr().err.splitlines()
    assert ["'broken'" in told[0], "'gone'" in told[1], len(told)] == [True, True, 2]


def test_json_prints_the_one_document(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda _: Result({"n": 1, "unit": "µs"}, "one thing"))
    assert cli.main(["it", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"n": 1, "unit": "µs"}
    assert captured.err == ""


def test_what_does_not_hold_exits_with_1(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda _: Result({"holds": False}, "measured: no", holds=False))
    assert cli.main(["it"]) == 1
    assert capsys.readouterr().out == "measured: no\n"


def test_a_result_that_is_not_all_has_a_code_of_its_own(
    register: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    register(lambda _: Result({"n": 1}, "one of two", code=cli.INTERRUPTED))
    assert cli.main(["it"]) == 130
    assert capsys.readouterr().out == "one of two\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GateError("accuracy 0.91 is under 0.95"), 1, "accuracy 0.91 is under 0.95"),
        (ConfigError("broken\n  over two lines"), 2, "broken over two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.tflite"), 2, "a.tflite: No such file or directory"),
        (OSError("no number"), 2, "no number"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None,
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, register: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    register(raising(error))
    assert cli.main(["it"]) == code
    captured = capsys.readouterr()
    assert captured.err == f"edgeloop it: {line}\n"
    assert captured.out == ""

    assert cli.main(["it", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["message"] == line


def test_a_missing_extra_is_named(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda _: Result(), extra="fleet", needs=("json", "no_such_module_xyz"))
    assert cli.main(["it"]) == 2
    assert "pip install 'edgeloop[fleet]'" in capsys.readouterr().err


def test_help_lists_what_is_installed_and_names_the_extra_of_what_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Command("is here", no_arguments, lambda _: Result())
    lacking = Command("lacks it", no_arguments, lambda _: Result(), extra="fleet", needs=("no_such_module_xyz",))
    monkeypatch.setattr(cli, "find_commands", lambda: {"here": here, "lacking": lacking})
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "is here" in text
    assert "lacks it" not in text
    assert "lacking [fleet]" in text


def test_an_unknown_command_exits_with_2(register: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    register(lambda _: Result())
    with pytest.raises(SystemExit) as exit_:
        cli.main(["nothing-like-it"])
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing-like-it" in captured.err


def test_every_registered_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = cli.find_commands()
    assert commands
    for name in commands:
        with pytest.raises(SystemExit) as exit_:
            cli.main([name, "--help"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: edgeloop {name}")


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    script = tmp_path / "much.py"
    script.write_text(
        "import sys\n"
        "from edgeloop import cli\n"
        "much = cli.Command('much', lambda p: None, lambda a: cli.Result(text='x' * 10_000_000))\n"
        "cli.find_commands = lambda: {'much': much}\n"
        "sys.exit(cli.main(['much']))\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0
