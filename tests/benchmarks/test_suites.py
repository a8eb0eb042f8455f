"""What `make bench` makes of suites: one that fails, hangs or lacks something is told; where we are behind is first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeloop.machine import describe_machine
from personal import personal
from tree import REPO

QUIET = msgspec.structs.replace(describe_machine(), load_1m=0.0)


@pytest.fixture(autouse=True)
def runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks"))


def suite(
    name: str, code: str, *, limit_s: float = 60, figures: tuple[Any, ...] = (), needs: tuple[Any, ...] = ()
) -> Any:
    from suite_runner.suite import Suite, within

    setting = within(limit_s, ("{python}", "-c", code.replace("{", "{{").replace("}", "}}")))
    return Suite(name, f"what {name} measures", setting, setting, figures, needs)


def ran(one: Any, out: Path) -> Any:
    from suite_runner.running import run_suite

    return run_suite(one, quick=False, out=out)


def page(suites: list[Any], records: list[Any], **changes: Any) -> str:
    from suite_runner.results_page import Run, render

    run = Run(1.8e9, "0123456789ab", QUIET, False, tuple(records))
    return render(msgspec.structs.replace(run, **changes), suites)


def test_a_suite_gives_its_document(tmp_path: Path) -> None:
    record = ran(suite("fine", "import sys; print('{\"n\": 3}'); print('working', file=sys.stderr)"), tmp_path)
    assert (record.outcome, record.document) == ("done", {"n": 3})
    assert json.loads((tmp_path / "fine.json").read_text()) == {"n": 3}
    assert "working" in (tmp_path / "fine.log").read_text()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no broker')", "it ended with 1: no broker"),
        ("print('Traceback')", "its document is no JSON"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it ended with -11"),
    ],
)
def test_a_suite_that_fails_is_told_with_its_reason(tmp_path: Path, code: str, reason: str) -> None:
    record = ran(suite("bad", code), tmp_path)
    assert record.outcome == "failed"
    assert record.reason.startswith(reason)
    assert record.document is None


def test_a_suite_that_measured_that_a_promise_fails_is_done(tmp_path: Path) -> None:
    record = ran(suite("campaign", "print('{\"lost\": 1}'); raise SystemExit(1)"), tmp_path)
    assert (record.outcome, record.document) == ("done", {"lost": 1})
    assert "it ended with 1" in record.reason


def test_what_takes_too_long_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    record = ran(suite("slow", code, limit_s=3), tmp_path)
    assert (record.outcome, record.reason) == ("failed", "it took longer than its limit")
    child = Path("/proc") / (tmp_path / "child").read_text()
    end = time.monotonic() + 10
    while child.exists() and "Z" not in child.joinpath("stat").read_text().split()[2]:
        assert time.monotonic() < end, "it still runs"
        time.sleep(0.05)


def test_a_suite_without_what_it_needs_is_skipped_and_says_what_to_install(tmp_path: Path) -> None:
    from suite_runner.suite import module, program

    needs = (program("no-such-broker", "some-package"), module("no_such_module", "fleet"), program("sh", "dash"))
    record = ran(suite("needy", "raise SystemExit(1)", needs=needs), tmp_path)
    assert record.outcome == "skipped"
    assert record.reason == (
        "no no-such-broker: apt-get install some-package; no no_such_module: pip install 'edgeloop[fleet]'"
    )


def slow(document: Any) -> Any:
    return document["slow"]


def figures() -> tuple[Any, ...]:
    from suite_runner.figures import Figure, at_least, at_most

    return (
        Figure("kept", lambda d: d["kept"], "µs", at_most(1.0)),
        Figure("missed a little", lambda d: d["little"], "/s", at_least(5000)),
        Figure("missed by far", lambda d: d["far"], "×", at_most(0.5)),
        Figure("slower than the peer", slow, "µs", peer="peer", ratio=lambda d: {"value": 3.0, "ci": (2.9, 3.1)}),
        Figure("not to be told apart", slow, "µs", peer="peer", ratio=lambda d: {"value": 1.1, "ci": (0.9, 1.2)}),
        Figure("more is better", slow, "/s", peer="peer", ratio=lambda d: 4.0, better="higher"),
        Figure("of another version", lambda d: d["gone"]),
    )


DOCUMENT = {"kept": 0.91, "little": 3986, "far": 1.5, "slow": 9.0, "skipped": {"whylogs": "pip can't install it"}}


def test_where_we_are_behind_stands_first_and_the_furthest_off_at_the_top(tmp_path: Path) -> None:
    one = suite("figures", f"print({json.dumps(DOCUMENT)!r})", figures=figures())
    text = page([one], [ran(one, tmp_path)])
    first = text[text.index("## Where we are behind") : text.index("## What wasn't measured")]
    rows = [line.split(" | ") for line in first.splitlines() if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == ["missed by far", "missed a little", "slower than the peer"]
    assert rows[0][1:3] == ["≤ 0.5 ×", "1.5 ×"]
    assert rows[1][1:3] == ["≥ 5,000 /s", "3,986 /s"]
    assert rows[1][5] == "1.254 ×"
    assert text.index("## Where we are behind") < text.index("## All figures")
    figures_part = text[text.index("## All figures") :]
    for what, state in (("kept", "holds"), ("not to be told apart", "level"), ("more is better", "ahead")):
        assert any(what in line and line.endswith(f"| {state} |") for line in figures_part.splitlines())


def test_what_was_not_measured_is_told(tmp_path: Path) -> None:
    one = suite("figures", f"print({json.dumps(DOCUMENT)!r})", figures=figures())
    two = suite("broken", "raise SystemExit('a | b')")
    text = page([one, two], [ran(one, tmp_path), ran(two, tmp_path)])
    assert "| broken | failed | it ended with 1: a \\| b |" in text
    assert "| figures | without whylogs | pip can't install it |" in text
    assert "| figures | not in its output | of another version |" in text


def test_a_page_is_the_same_for_the_same_run_and_marked_where_it_is_not_to_be_quoted(tmp_path: Path) -> None:
    one = suite("figures", f"print({json.dumps(DOCUMENT)!r})", figures=figures())
    records = [ran(one, tmp_path)]
    assert page([one], records) == page([one], records)
    assert "not to be quoted" not in page([one], records)
    assert "too few rounds to quote" in page([one], records, quick=True)
    assert "The machine was busy" in page([one], records, machine=msgspec.structs.replace(QUIET, load_1m=8.0))


def test_every_suite_of_the_catalogue_can_be_started() -> None:
    from suite_runner.catalogue import SUITES

    assert len({each.name for each in SUITES}) == len(SUITES)
    for each in SUITES:
        assert each.figures
        for setting in filter(None, (each.full, each.quick)):
            for words in setting.commands:
                path = REPO / words[1] if words[1].endswith(".py") else None
                assert path is None or path.is_file()
    assert sum(each.quick.limit_s for each in SUITES if each.quick) < 4000


def test_promises_count_how_far_off_a_figure_is() -> None:
    from suite_runner.figures import at_least, at_most, exactly, significant

    assert at_most(2.0).distance(3.0) == 1.5
    assert at_least(3.0).distance(2.0) == 1.5
    assert exactly(0).distance(0) == 1.0
    assert exactly(0).distance(2) == float("inf")
    shown = [significant(x) for x in (0.9132, 1234567.0, 12.345, 0, 0.00123, -0.05, 100.0)]
    assert shown == ["0.913", "1,234,567", "12.3", "0", "0.00123", "-0.05", "100"]


def test_a_suite_finds_this_trees_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    record = ran(suite("where", "import edgeloop, json; print(json.dumps(edgeloop.__file__))"), tmp_path)
    assert Path(record.document).is_relative_to(REPO)


def test_what_a_suite_says_of_folders_is_not_told(tmp_path: Path) -> None:
    home = Path.home()
    record = ran(suite("bad", f"raise SystemExit('no {home}/models here')"), tmp_path)
    assert record.reason == "it ended with 1: no ~/models here"


def test_ctrl_c_ends_a_suite_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite_runner import running

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_run", interrupted)
    assert ran(suite("long", "print(1)"), tmp_path).outcome == "interrupted"


def test_pytest_benchmarks_file_has_the_ratio_in_turns_and_no_host(tmp_path: Path) -> None:
    from suite_runner.figures import judge, micro

    file = tmp_path / "micro.json"
    words = ["-m", "pytest", "benchmarks/suites/micro/test_sampler.py", "-q", "--benchmark-max-time", "0.05"]
    environment = os.environ | {"EDGELOOP_BENCH_TURNS_S": "0.05", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *words, "--benchmark-json", str(file)]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    row = judge(micro("pick", "pick 20 of 1,000 inputs by three scores", "numpy"), json.loads(file.read_text()))
    assert row.value is not None
    assert row.ratio is not None
    assert 0.1 < row.ratio < 10
    assert personal(file.read_text(), tmp_path) == []
