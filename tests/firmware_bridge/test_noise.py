"""The host library and the firmware over a line that changes one byte in a hundred, and is unplugged in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgeloop_bridge import messages as m
from edgeloop_bridge.device import Device
from edgeloop_bridge.frames import encode
from edgeloop_bridge.transport import SerialLine
from relays import NoisyRelay, relayed

pytest.importorskip("serial", reason="needs edgeloop[bridge]")

NOISE = 0.01
TIMEOUT_S = 0.02  # the process answers within a millisecond; 200 ms would make the campaign last for hours


def asked(device: Device, count: int) -> None:
    """Ask so many requests of three kinds; each answer must be the right one."""
    last_us = 0
    crc_errors = 0
    for number in range(count):
        if number % 3 == 0:
            time_us = device.link.ping().time_us
            assert time_us >= last_us
            last_us = time_us
        elif number % 3 == 1:
            slot = device.slot(number % 2)
            assert (slot.slot, slot.core, slot.capacity_bytes) == (number % 2, 0, 512 * 1024)
        else:
            stats = device.stats()
            assert stats.crc_errors >= crc_errors
            crc_errors = stats.crc_errors


def delivered(relay: NoisyRelay, device: Device, image: bytes, pulls: int) -> None:
    """Deliver, with the cable pulled so often on the way; END verifies the SHA-256 on the device."""
    pulled, offsets = 0, []
    for offset in device.deliver(1, image):
        offsets.append(offset)
        if pulled < pulls and offset > (pulled + 1) * len(image) // (pulls + 1):
            pulled += 1
            relay.unplug()
    assert pulled == pulls
    assert device.link.reconnects >= pulls
    assert offsets == sorted(offsets), "it began anew"
    assert offsets[-1] == len(image)
    relay.probability = 0.0
    slot = device.slot(1)
    assert slot.state == m.SlotState.VERIFIED
    assert slot.length == len(image)


@pytest.mark.parametrize(
    ("requests", "size", "pulls"),
    [(120, 6_000, 3), pytest.param(10_000, 300_000, 10, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_every_request_is_answered_and_a_model_arrives(
    requests: int, size: int, pulls: int, firmware_process: Path, tmp_path: Path
) -> None:
    flash = tmp_path / "flash"
    image = random.Random(5).randbytes(size)
    with (
        relayed(firmware_process, "--flash", flash, seed=11, probability=NOISE) as relay,
        Device(SerialLine(relay.url), timeout_s=TIMEOUT_S) as device,
    ):
        asked(device, requests)
        assert relay.changed > 0.8 * NOISE * relay.passed
        assert device.line.frames >= requests
        delivered(relay, device, image, pulls)
        assert device.link.resets == 0
    assert flash.read_bytes()[512 * 1024 :][:size] == image


def test_a_board_that_is_reset_in_mid_transfer_goes_on_where_it_was(firmware_process: Path) -> None:
    image = random.Random(6).randbytes(60_000)
    with relayed(firmware_process) as relay, Device(SerialLine(relay.url), timeout_s=0.1) as device:
        offsets = []
        for offset in device.deliver(0, image):
            offsets.append(offset)
            if device.link.resets < 2 and offset > (device.link.resets + 1) * 20_000:
                relay.inject(encode(m.frame(m.ResetRequest(), 60_000)))
        assert device.link.resets == 2
        assert offsets == sorted(offsets)
        assert device.slot(0).state == m.SlotState.VERIFIED
