"""The firmware on emulated boards: models, linked in or delivered, answer as TFLite's reference kernels do."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop_bridge import messages as m
from edgeloop_converters.to_c import compile_to_c
from firmware import CORES, emulated, make, sizes_of
from serial_device import Host

SAMPLES = 3
QUICK = "mps2-an386"
BOARDS = [pytest.param(board, marks=() if board == QUICK else pytest.mark.slow) for board in CORES]


@pytest.fixture(scope="session")
def elf(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], Path]:
    """Builds a board's firmware with a model linked in; without one where it is empty."""
    needs("arm-none-eabi-gcc", "make", "qemu-system-arm")
    pytest.importorskip("serial", reason="needs edgeloop[bridge]")
    made: dict[tuple[str, bytes], Path] = {}

    def elf(board: str, model: bytes = b"") -> Path:
        if (board, model) not in made:
            build = tmp_path_factory.mktemp(board)
            variables = {}
            if model:
                compiled = compile_to_c(model, "model")
                (build / "model.c").write_text(compiled.source)
                (build / "model.h").write_text(compiled.header)
                variables["MODEL"] = build
            make(build, f"{build}/{board}.elf", **variables)
            made[board, model] = build / f"{board}.elf"
        return made[board, model]

    return elf


def infer_agrees(host: Host, model: bytes, prefix: bytes, answers: Callable[[bytes, bytes], bytes]) -> None:
    """The device's answers to random inputs are the reference kernels', bit for bit."""
    from edgeloop_converters.tflite import parse

    graph = parse(model).subgraphs[0]
    size = int(np.prod(graph.tensors[graph.inputs[0]].shape))
    rng = np.random.default_rng(5)
    for _ in range(SAMPLES):
        given = rng.integers(0, 256, size).astype(np.uint8).tobytes()
        answer = host.ask(m.InferRequest(prefix, given), 30)
        assert isinstance(answer, m.Infer)
        assert (answer.status, answer.output) == (m.InferStatus.DONE, answers(model, given))


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_takes_a_model_into_a_slot_and_runs_it(
    board: str,
    elf: Callable[..., Path],
    shared_dir: Path,
    image_for: Callable[..., Any],
    answers: Callable[[bytes, bytes], bytes],
    tiny_int8_model: bytes,
) -> None:
    model = (shared_dir / "models" / "kws_int8.tflite").read_bytes()
    with emulated(board, elf(board, tiny_int8_model)) as host:
        hello = host.ask(m.HelloRequest(), 5)  # the first exchange can stall for a second
        assert (hello.board, hello.active) == (board, m.BUILT_IN)
        infer_agrees(host, tiny_int8_model, hello.model[:8], answers)
        image = image_for(host, 1, model)
        assert host.deliver(1, image.data, image.sha256) == m.End(1)
        assert host.ask(m.ActivateRequest(1, image.sha256), 30) == m.Activate(1)
        infer_agrees(host, model, image.model_sha256[:8], answers)
        host.ask(m.ResetRequest())
        back = host.ask(m.HelloRequest(), 5)
        assert back.active == m.BUILT_IN, "unconfirmed: the old one"
        assert back.boot_id != hello.boot_id
        assert host.ask(m.ActivateRequest(1, image.sha256), 30) == m.Activate(1)
        assert host.ask(m.ConfirmRequest(1, image.sha256), 5) == m.Confirm(1)
        host.ask(m.ResetRequest())
        assert host.ask(m.HelloRequest(), 5).active == 1
        infer_agrees(host, model, image.model_sha256[:8], answers)
        stats = host.ask(m.StatsRequest())
        assert (stats.resets, stats.crc_errors, stats.damaged, stats.overruns) == (2, 0, 0, 0)


MODELS = ["ad01", "kws", *(pytest.param(name, marks=pytest.mark.tf) for name in ("residual", "mobile"))]


@pytest.mark.slow
@pytest.mark.parametrize("board", CORES)
@pytest.mark.parametrize("name", MODELS)
def test_the_four_kinds_of_model_run_linked_in(
    board: str,
    name: str,
    elf: Callable[..., Path],
    model_of: Callable[[str], bytes],
    answers: Callable[..., bytes],
    record_property: Callable[[str, object], None],
) -> None:
    model = model_of(name)
    if (board, name) == ("microbit", "ad01"):
        pytest.skip("its weights (270 kB) are more than the micro:bit's flash (256 kB)")
    program = elf(board, model)
    record_property("bytes", sizes_of(program))
    with emulated(board, program) as host:
        hello = host.ask(m.HelloRequest(), 5)
        assert hello.active == m.BUILT_IN
        infer_agrees(host, model, hello.model[:8], answers)


def test_a_board_on_a_pseudo_terminal(elf: Callable[..., Path]) -> None:
    with emulated("mps2-an385", elf("mps2-an385"), terminal=True) as host:
        hello = host.ask(m.HelloRequest(), 5)
        assert (hello.board, hello.active) == ("mps2-an385", m.NO_SLOT)
        about = host.ask(m.StreamRequest(0, 1, 20_000))
        assert about.name == "ramp"
        while sum(f.type == m.Samples.TYPE for f in host.unasked) < 5:
            host.listen(1)
        assert host.ask(m.StreamRequest(0, 0, 0)).period_us == 0
        assert host.ask(m.BaudRequest(230_400)) == m.Baud(230_400)
        assert host.ask(m.HelloRequest(), 5).protocol == 1


def test_a_model_that_faults_in_its_golden_input_costs_a_reset_and_nothing_else(
    elf: Callable[..., Path], image_for: Callable[..., Any], tiny_int8_model: bytes, other_int8_model: bytes
) -> None:
    with emulated(QUICK, elf(QUICK, tiny_int8_model)) as host:
        hello = host.ask(m.HelloRequest(), 5)
        image = image_for(host, 0, other_int8_model)
        bad = bytearray(image.data)
        address, invoke = (struct.unpack_from("<I", bad, at)[0] for at in (12, 40))
        at = (invoke & ~1) - address
        bad[at : at + 2] = b"\x00\xde"  # UDF: an undefined instruction
        sha256 = hashlib.sha256(bad).digest()
        assert host.deliver(0, bytes(bad), sha256) == m.End(0)
        with pytest.raises(TimeoutError):
            host.ask(m.ActivateRequest(0, sha256), 1, attempts=1)
        back = host.ask(m.HelloRequest(), 5)
        assert (back.active, back.model) == (m.BUILT_IN, hello.model)
        assert host.ask(m.StatsRequest()).resets == 1
