"""Whatever the line does, and whenever the power goes: no wrong model runs, and the next frame is understood."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop_bridge import messages as m
from edgeloop_bridge.frames import encode
from serial_device import Host, Process

FAULTS = ("flip", "drop", "insert", "zero", "twice", "lose", "join")


class Noisy:
    """A line that damages what is written, and what comes back, with some probability for each write."""

    def __init__(self, line: Process, rng: random.Random, probability: float) -> None:
        self.line, self.rng, self.probability = line, rng, probability
        self.held = b""

    def write(self, data: bytes) -> None:
        self.line.write(self.damaged(data))

    def read(self, timeout_s: float) -> bytes:
        return self.damaged(self.line.read(timeout_s))

    def damaged(self, data: bytes) -> bytes:
        if not data or self.rng.random() >= self.probability:
            data, self.held = self.held + data, b""
            return data
        at = self.rng.randrange(len(data))
        fault = self.rng.choice(FAULTS)
        if fault == "flip":
            return data[:at] + bytes([data[at] ^ 1 << self.rng.randrange(8)]) + data[at + 1 :]
        if fault == "drop":
            return data[:at] + data[at + self.rng.randrange(1, 40) :]
        if fault == "insert":
            return data[:at] + self.rng.randbytes(self.rng.randrange(1, 40)) + data[at:]
        if fault == "zero":
            return data[:at] + b"\0" + data[at + 1 :]
        if fault == "join":  # kept back, and sent with what comes next
            self.held += data
            return b""
        return data * 2 if fault == "twice" else b""


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=400) | st.binary(max_size=40).map(lambda b: b"\0" + b), max_size=8))
def test_after_any_bytes_the_first_request_is_answered(checked_process: Path, noise: list[bytes]) -> None:
    process = Process(checked_process)
    for piece in noise:
        process.write(piece)
    # The zero before the frame ends the noise: one attempt is enough.
    assert isinstance(Host(process).ask(m.HelloRequest(), 10, attempts=1), m.Hello)
    assert process.close() == 0


@st.composite
def requests(draw: st.DrawFn) -> m.Message:
    kind = draw(st.sampled_from([k for t, k in m.TYPES.items() if t < m.ANSWER and k is not m.ResetRequest]))
    widths = {"B": 8, "H": 16, "I": 32, "Q": 64}
    small = st.integers(0, 3)
    values: list[Any] = [
        draw(small | st.integers(0, 2 ** widths[c] - 1))
        if c in widths
        else draw(st.sampled_from([0, 1])).to_bytes(int(c[:-1]), "big")
        for c in kind.LAYOUT
    ]
    if kind.TAIL is not None:
        values.append("x" if kind.TAIL is str else draw(st.binary(max_size=40)))
    return kind(*values)


@settings(max_examples=40, deadline=None)
@given(st.lists(requests().filter(lambda r: not isinstance(r, m.BaudRequest)), max_size=25))
def test_any_requests_are_answered_and_activate_nothing(checked_process: Path, asked: list[m.Message]) -> None:
    process = Process(checked_process)
    host = Host(process, timeout_s=10)
    for request in asked:
        if isinstance(request, m.Log | m.Samples):
            host.line.write(encode(m.frame(request, 0)))
        else:
            assert host.ask(request, attempts=1).TYPE in (request.TYPE | m.ANSWER, m.Error.TYPE)
    assert host.ask(m.HelloRequest(), attempts=1).active == m.NO_SLOT
    assert process.close() == 0


def delivery_over_a_noisy_line(
    program: Path, images: tuple[Any, Any], seed: int, probability: float, folder: Path
) -> tuple[int, bool]:
    """Deliver the second image over a line that damages one write in some; the damage done, and whether it arrived."""
    first, second = images
    flash = folder / "flash"
    process = Process(program, "--flash", flash)
    clean = Host(process)
    assert clean.deliver(0, first.data, first.sha256) == m.End(0)
    clean.ask(m.ActivateRequest(0, first.sha256))
    clean.ask(m.ConfirmRequest(0, first.sha256))
    noisy = Host(Noisy(process, random.Random(seed), probability), timeout_s=0.03)
    confirmed = False
    try:
        if noisy.deliver(1, second.data, second.sha256) == m.End(1) and isinstance(
            noisy.ask(m.ActivateRequest(1, second.sha256), attempts=20), m.Activate
        ):
            confirmed = isinstance(noisy.ask(m.ConfirmRequest(1, second.sha256), attempts=20), m.Confirm)
    except TimeoutError:
        pass  # so bad a line
    about = clean_after(process)
    hello, slot = about
    assert hello.model in (first.model_sha256, second.model_sha256)
    if hello.active == 1 or slot.state >= m.SlotState.VERIFIED:
        at = 512 * 1024
        assert flash.read_bytes()[at : at + len(second.data)] == second.data
    if confirmed:
        assert hello.active == 1
    clean.ask(m.ResetRequest(), 5)
    after = clean.ask(m.HelloRequest(), 5)
    if confirmed:
        assert after.model == second.model_sha256
    stats = len(noisy.damaged) + noisy.repeats
    assert process.close() == 0
    return stats, confirmed


def clean_after(process: Process) -> tuple[m.Hello, m.Slot]:
    """The line is good again: the first request is understood."""
    host = Host(process, timeout_s=10)
    hello = host.ask(m.HelloRequest(), attempts=1)
    slot = host.ask(m.SlotRequest(1), attempts=1)
    assert isinstance(hello, m.Hello)
    assert isinstance(slot, m.Slot)
    return hello, slot


@pytest.fixture(scope="module")
def images(
    firmware_process: Path, image_for: Callable[..., Any], tiny_int8_model: bytes, other_int8_model: bytes
) -> tuple[Any, Any]:
    process = Process(firmware_process)
    host = Host(process)
    made = image_for(host, 0, tiny_int8_model), image_for(host, 1, other_int8_model)
    process.close()
    return made


@pytest.mark.parametrize(("probability", "times"), [(0.05, 3), (0.3, 1)])
def test_on_a_noisy_line_the_model_arrives_whole_or_not_at_all(
    checked_process: Path, images: tuple[Any, Any], probability: float, times: int, tmp_path: Path
) -> None:
    damage, arrived = 0, 0
    for seed in range(times):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            done, confirmed = delivery_over_a_noisy_line(checked_process, images, seed, probability, Path(folder))
            damage, arrived = damage + done, arrived + confirmed
    assert damage > 0
    if probability < 0.1:
        assert arrived == times


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.02, 0.1, 0.3, 0.6])
def test_a_long_campaign_of_noisy_lines(
    checked_process: Path, images: tuple[Any, Any], probability: float, tmp_path: Path
) -> None:
    for seed in range(100, 110):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            delivery_over_a_noisy_line(checked_process, images, seed, probability, Path(folder))


def test_a_power_cut_at_any_moment_leaves_the_old_model_or_the_new_one(
    firmware_process: Path, images: tuple[Any, Any], tmp_path: Path
) -> None:
    first, second = images
    flash = tmp_path / "flash"
    start = Process(firmware_process, "--flash", flash)
    host = Host(start)
    assert host.deliver(0, first.data, first.sha256) == m.End(0)
    host.ask(m.ActivateRequest(0, first.sha256))
    host.ask(m.ConfirmRequest(0, first.sha256))
    assert start.close() == 0
    before = flash.read_bytes()
    cut, models = 0, []
    while True:
        cut += 1
        flash.write_bytes(before)
        process = Process(firmware_process, "--flash", flash, "--cut", str(cut))
        confirmed = update(Host(process), second)
        if process.close() == 0:
            assert confirmed
            break
        process = Process(firmware_process, "--flash", flash)
        host = Host(process)
        hello = host.ask(m.HelloRequest())
        assert hello.model in (first.model_sha256, second.model_sha256), cut
        assert not confirmed, "a cut comes before the answer"
        models.append(hello.model)
        if hello.model == first.model_sha256:  # it goes on from there; a unit that was half written costs a restart
            assert update(host, second) or update(host, second)
            host.ask(m.ResetRequest())
            assert host.ask(m.HelloRequest()).model == second.model_sha256
        assert process.close() == 0
    # BEGIN's record and erasing, at least one write for each DATA, END's record and CONFIRM's.
    assert cut > 8 + len(second.data) // 232
    assert models[0] == models[-2] == first.model_sha256


def update(host: Host, image: Any) -> bool:
    """Deliver, activate, confirm, as far as the power lasts."""
    try:
        return (
            host.deliver(1, image.data, image.sha256) == m.End(1)
            and host.ask(m.ActivateRequest(1, image.sha256)) == m.Activate(1)
            and host.ask(m.ConfirmRequest(1, image.sha256)) == m.Confirm(1)
        )
    except EOFError:
        return False
