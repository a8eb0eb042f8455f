"""What a device and the host's end of its line have counted, by the names under which it joins an agent's own."""

from __future__ import annotations

from edgeloop_bridge.device import Device

__all__ = ["STATISTICS_S", "counters"]

STATISTICS_S = 10.0
"""How often they are read, in seconds: it takes a round trip of the line."""


def counters(device: Device) -> dict[str, int]:
    """Ask the device for its counters. Raises `BridgeError` where it can't be reached."""
    stats, line, link = device.stats(), device.line, device.link
    return {
        "device_crc_errors": stats.crc_errors,
        "device_damaged_frames": stats.damaged,
        "device_overruns": stats.overruns,
        "device_drops": stats.drops,
        "device_resets": stats.resets,
        "device_arena_high_water_bytes": stats.arena_high_water_bytes,
        "line_damaged_frames": line.damaged.total(),
        "line_retries": line.retries,
        "line_timeouts": line.timeouts,
        "reconnects": link.reconnects,
    }
