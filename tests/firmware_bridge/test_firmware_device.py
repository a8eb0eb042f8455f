"""What the firmware answers, asked as a process: one behaviour each."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bridge import messages as m
from edgeloop_bridge.frames import Frame, encode
from firmware import SANITIZERS, make
from int8_networks import dense
from serial_device import Host, Process, refused


def raw(host: Host, frame: Frame) -> Frame:
    """The first frame that comes back."""
    host.line.write(encode(frame))
    (answer,) = host.hear(10, most=1)
    return answer


def run(host: Host, slot: int, image: Any, confirm: bool = True) -> None:
    """Deliver, activate, confirm."""
    assert host.deliver(slot, image.data, image.sha256) == m.End(slot)
    assert host.ask(m.ActivateRequest(slot, image.sha256), 5) == m.Activate(slot)
    if confirm:
        assert host.ask(m.ConfirmRequest(slot, image.sha256), 5) == m.Confirm(slot)


def restart(host: Host) -> m.Message:
    host.ask(m.ResetRequest())
    return host.ask(m.HelloRequest())


def test_hello_says_who_it_is_and_a_reset_changes_the_boot_id(host: Host) -> None:
    hello = host.ask(m.HelloRequest())
    assert isinstance(hello, m.Hello)
    assert (hello.protocol, hello.board, hello.slots, hello.active) == (1, "host", 2, m.NO_SLOT)
    assert 64 <= hello.largest_frame_bytes <= 1032
    assert hello.model == bytes(32)
    again = restart(host)
    assert again.boot_id != hello.boot_id
    assert host.ask(m.StatsRequest()).resets == 1


def test_a_repeated_request_is_answered_from_memory_and_not_done_again(host: Host) -> None:
    first = raw(host, m.frame(m.StreamRequest(0, 1, 5_000_000), 9))
    assert host.hear(0.2) == []  # one sample at once: it comes unasked
    assert raw(host, m.frame(m.StreamRequest(0, 1, 5_000_000), 9)) == first
    host.hear(0.2)
    started = [f for f in host.unasked if f.type == m.Samples.TYPE]
    assert len(started) == 1, "the stream was started twice"


def test_the_same_sequence_with_another_payload_is_another_request(host: Host) -> None:
    assert m.from_frame(raw(host, m.frame(m.SlotRequest(0), 5))).slot == 0
    assert m.from_frame(raw(host, m.frame(m.SlotRequest(1), 5))).slot == 1


def test_ping_is_answered_afresh(host: Host) -> None:
    ping = m.frame(m.PingRequest(), 5)
    first, second = (m.from_frame(raw(host, ping)).time_us for _ in range(2))
    assert second > first


@pytest.mark.parametrize("type_", [0x00, 0x07, 0x33, 0x7F])
def test_an_unknown_type_gets_a_typed_refusal(host: Host, type_: int) -> None:
    answer = m.from_frame(raw(host, Frame(type_, 3)))
    assert (answer.code, answer.refused) == (m.ErrorCode.UNKNOWN_TYPE, type_)


def test_a_payload_of_another_length_is_refused(host: Host) -> None:
    for type_, kind in m.TYPES.items():
        if type_ < m.ANSWER and type_ not in (m.Log.TYPE, m.Samples.TYPE):
            size = struct.calcsize("<" + "".join(kind.LAYOUT))
            wrong = bytes(size - 1) if size else b"x"
            answer = m.from_frame(raw(host, Frame(type_, type_, wrong)))
            assert (answer.code, answer.refused) == (m.ErrorCode.BAD_PAYLOAD, type_)


def test_another_version_is_told_which_one_is_spoken(host: Host) -> None:
    answer = m.from_frame(raw(host, Frame(m.HelloRequest.TYPE, 3, version=2)))
    assert (answer.code, answer.text) == (m.ErrorCode.VERSION, "1")


def test_answers_and_damage_are_counted_and_never_answered(host: Host) -> None:
    whole = encode(m.frame(m.PingRequest(), 1))
    host.line.write(encode(Frame(0x81, 1)) + encode(m.frame(m.Error(5, 1, ""), 1)))  # two strays
    host.line.write(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])  # a wrong CRC
    host.line.write(b"\0\xff\x01\0" + b"\0\x02\x01\0" + b"\0" + b"\x07" * 3000 + b"\0")  # cobs, short, long
    assert host.hear(0.2) == []
    stats = host.ask(m.StatsRequest())
    assert (stats.crc_errors, stats.damaged, stats.strays) == (1, 3, 2)


def test_a_delivered_model_runs_on_trial_and_without_a_confirm_the_old_one_comes_back(
    host: Host,
    image_for: Callable[..., Any],
    answers: Callable[..., bytes],
    tiny_int8_model: bytes,
    other_int8_model: bytes,
) -> None:
    first = image_for(host, 0, tiny_int8_model)
    run(host, 0, first)
    second = image_for(host, 1, other_int8_model)
    run(host, 1, second, confirm=False)
    assert host.ask(m.HelloRequest()).model == second.model_sha256
    assert [host.ask(m.SlotRequest(i)).state for i in (0, 1)] == [m.SlotState.CONFIRMED, m.SlotState.TRIAL]
    given = bytes([1, 200, 3, 128])
    answer = host.ask(m.InferRequest(second.model_sha256[:8], given))
    assert (answer.status, answer.output) == (m.InferStatus.DONE, answers(other_int8_model, given))
    hello = restart(host)
    assert (hello.active, hello.model) == (0, first.model_sha256)
    assert host.ask(m.SlotRequest(1)).state == m.SlotState.VERIFIED
    assert host.ask(m.ActivateRequest(1, second.sha256)) == m.Activate(1)
    assert host.ask(m.ConfirmRequest(1, second.sha256)) == m.Confirm(1)
    assert restart(host).model == second.model_sha256


def test_delivery_goes_on_where_it_stopped_even_after_a_reset(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes
) -> None:
    image = image_for(host, 0, tiny_int8_model)
    stopped = host.deliver(0, image.data, image.sha256, stop_at=464)
    assert stopped == m.Data(464)
    begin = m.BeginRequest(0, len(image.data), image.sha256)
    assert host.ask(begin).next_offset == 464
    restart(host)
    assert refused(host.ask(m.DataRequest(464, image.data[464:472])), "BEGIN")
    assert 456 <= host.ask(begin).next_offset <= 464
    run(host, 0, image)
    assert host.ask(begin).next_offset == len(image.data)


def test_bytes_that_differ_from_their_hash_are_never_activated(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes
) -> None:
    image = image_for(host, 0, tiny_int8_model)
    bad = bytearray(image.data)
    bad[len(bad) // 2] ^= 4
    assert refused(host.deliver(0, bytes(bad), image.sha256), "SHA-256")
    assert host.ask(m.SlotRequest(0)).state == m.SlotState.EMPTY
    assert refused(host.ask(m.ActivateRequest(0, image.sha256)))
    run(host, 0, image)


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (0, 0, "no image"),
        (4, 2, "no image"),
        (6, 0xC24, "another processor"),
        (12, 0x10080000, "another slot"),
        (16, 0x20000000, "another arena"),
        (20, 1 << 30, "another arena"),
        (28, 1 << 30, "outside"),
        (40, 0, "outside"),
        (44, 0xFFFFFFF0, "outside"),
        (24, "invoke", "outside of its arena"),
    ],
)
def test_an_image_that_was_made_for_something_else_is_refused(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes, at: int, value: int | str, text: str
) -> None:
    image = image_for(host, 0, tiny_int8_model)
    bad = bytearray(image.data)
    if value == "invoke":  # a function that isn't what the header says: its answer is checked, too
        (invoke,) = struct.unpack_from("<I", bad, 40)
        # mov eax, 0x1000; ret
        struct.pack_into("<I", bad, 24, invoke)
        bad[invoke - 0x10000000 : invoke - 0x10000000 + 6] = b"\xb8\x00\x10\x00\x00\xc3"
    else:
        struct.pack_into("<H" if at in (4, 6) else "<I", bad, at, value)
    data = bytes(bad)
    sha256 = hashlib.sha256(data).digest()
    assert host.deliver(0, data, sha256) == m.End(0)
    assert refused(host.ask(m.ActivateRequest(0, sha256)), text)
    assert host.ask(m.HelloRequest()).active == m.NO_SLOT


def test_a_model_that_answers_its_golden_input_wrongly_stays_out(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes, other_int8_model: bytes
) -> None:
    good = image_for(host, 0, tiny_int8_model)
    run(host, 0, good)
    image = image_for(host, 1, other_int8_model)
    bad = bytearray(image.data)
    (golden,) = struct.unpack_from("<I", bad, 48)
    bad[golden - 0x10080000] ^= 1
    sha256 = hashlib.sha256(bad).digest()
    assert host.deliver(1, bytes(bad), sha256) == m.End(1)
    assert refused(host.ask(m.ActivateRequest(1, sha256)), "golden")
    assert host.ask(m.HelloRequest()).active == 0
    assert host.ask(m.InferRequest(good.model_sha256[:8], bytes(4))).status == m.InferStatus.DONE


def test_a_mistaken_slot_or_hash_activates_nothing(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes
) -> None:
    image = image_for(host, 0, tiny_int8_model)
    assert host.deliver(0, image.data, image.sha256) == m.End(0)
    for slot, sha256 in ((0, bytes(32)), (1, image.sha256), (2, image.sha256), (m.BUILT_IN, image.sha256)):
        assert refused(host.ask(m.ActivateRequest(slot, sha256)))
    assert refused(host.ask(m.ConfirmRequest(0, image.sha256)), "ACTIVATE")
    assert refused(host.ask(m.ConfirmRequest(m.NO_SLOT, bytes(32))), "ACTIVATE")
    assert host.ask(m.HelloRequest()).active == m.NO_SLOT


def test_the_slot_that_runs_is_not_written_over(
    host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes, other_int8_model: bytes
) -> None:
    run(host, 0, image_for(host, 0, tiny_int8_model))
    run(host, 1, image_for(host, 1, other_int8_model), confirm=False)
    for slot in (0, 1):
        assert refused(host.ask(m.BeginRequest(slot, 100, bytes(32))), "in use")
    assert refused(host.ask(m.BeginRequest(2, 100, bytes(32))), "no such slot")
    assert refused(host.ask(m.BeginRequest(0, 1 << 30, bytes(32))), "doesn't fit")


def test_a_slot_that_rotted_is_found_at_boot(
    firmware_process: Path, tmp_path: Path, image_for: Callable[..., Any], tiny_int8_model: bytes
) -> None:
    flash = tmp_path / "flash"
    process = Process(firmware_process, "--flash", flash)
    image = image_for(Host(process), 0, tiny_int8_model)
    run(Host(process), 0, image)
    assert process.close() == 0
    rotten = bytearray(flash.read_bytes())
    rotten[100] ^= 1
    flash.write_bytes(rotten)
    process = Process(firmware_process, "--flash", flash)
    host = Host(process)
    assert host.ask(m.HelloRequest()).active == m.NO_SLOT
    assert any("SHA-256" in m.from_frame(f).text for f in host.unasked)
    run(host, 0, image)
    assert restart(host).active == 0
    assert process.close() == 0


def test_inference_says_why_not(host: Host, image_for: Callable[..., Any], tiny_int8_model: bytes) -> None:
    image = image_for(host, 0, tiny_int8_model)
    prefix = image.model_sha256[:8]
    assert host.ask(m.InferRequest(prefix, bytes(4))) == m.Infer(m.InferStatus.NO_MODEL, 0, 0, 0, 0, b"")
    run(host, 0, image)
    assert host.ask(m.InferRequest(bytes(8), bytes(4))).status == m.InferStatus.OTHER_MODEL
    assert host.ask(m.InferRequest(prefix, bytes(5))).status == m.InferStatus.BAD_INPUT
    assert host.ask(m.InferRequest(prefix, b"")).status == m.InferStatus.BAD_INPUT
    assert refused(host.ask(m.OutputRequest(0)), "no output")
    assert host.ask(m.InferRequest(prefix, bytes(4))).status == m.InferStatus.DONE
    assert host.ask(m.StatsRequest()).arena_high_water_bytes == image.arena_bytes


@pytest.fixture(scope="module")
def small_frames(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames as small as the protocol allows, and a model that is linked in."""
    from edgeloop_converters.to_c import compile_to_c

    needs("gcc", "make")
    build = tmp_path_factory.mktemp("small")
    compiled = compile_to_c(dense(120, 110, seed=3), "model")
    (build / "model.c").write_text(compiled.source)
    (build / "model.h").write_text(compiled.header)
    flags = f"-DEL_FRAME_BYTES=64u -DEL_ANSWER_BYTES=128u -DEL_DATA_BYTES=40u -DEL_RING_BYTES=256u {SANITIZERS}"
    make(build, f"{build}/host", MODEL=build, HOST_FLAGS=flags)
    return build / "host"


def test_inputs_and_outputs_longer_than_a_frame_go_in_parts(
    small_frames: Path, answers: Callable[..., bytes], image_for: Callable[..., Any]
) -> None:
    model = dense(120, 110, seed=3)
    process = Process(small_frames)
    host = Host(process)
    hello = host.ask(m.HelloRequest())
    assert (hello.active, hello.model) == (m.BUILT_IN, hashlib.sha256(model).digest())
    prefix, given = hello.model[:8], bytes((7 * i) % 256 for i in range(120))
    assert refused(host.ask(m.InputRequest(prefix, 40, given[40:80])), "before it is missing")
    for at in range(0, 120, 40):
        assert host.ask(m.InputRequest(prefix, at, given[at : at + 40])) == m.Input(at + 40)
    assert refused(host.ask(m.InputRequest(prefix, 120, b"x")), "past the input's end")
    answer = host.ask(m.InferRequest(prefix, b""))
    output = answer.output
    assert answer.output_bytes == 110
    assert len(output) < 110
    output += host.ask(m.OutputRequest(len(output))).data
    assert output == answers(model, given)
    # The linked-in model is one of several: a delivered one takes its place, and gives it back.
    image = image_for(host, 0, dense(4, 3, seed=1))
    run(host, 0, image)
    assert host.ask(m.ActivateRequest(m.BUILT_IN, hello.model)) == m.Activate(m.BUILT_IN)
    assert restart(host).active == 0
    assert host.ask(m.ActivateRequest(m.BUILT_IN, hello.model)) == m.Activate(m.BUILT_IN)
    assert host.ask(m.ConfirmRequest(m.BUILT_IN, hello.model)) == m.Confirm(m.BUILT_IN)
    assert restart(host).active == m.BUILT_IN
    assert process.close() == 0
