"""Suites of the ways between devices and the centre: MQTT, the lake, a serial line."""

from __future__ import annotations

from typing import Any

from suite_runner.figures import Figure, at_least, at_most, exactly
from suite_runner.suite import Suite, module, program, script, within

__all__ = ["SUITES"]


def delivered(baud: int) -> tuple[Figure, ...]:
    """With the smallest window of a board, and with the largest."""

    def shares(d: Any) -> list[float]:
        return [line["delivery_of_ceiling"] for line in d["lines"] if line["baud"] == baud]

    def samples(d: Any) -> float:
        lines = [line for line in d["lines"] if line["baud"] == baud]
        return min(max(stream["received"] for stream in line["streams_of_ceiling"]) for line in lines)

    what = f"a model's delivery at {baud:,} baud, of the line's ceiling"
    return (
        Figure(f"{what}, worst window", lambda d: min(shares(d)), "×", at_least(0.8)),
        Figure(f"{what}, best window", lambda d: max(shares(d)), "×", at_least(0.8)),
        Figure(f"samples at {baud:,} baud, of the line's ceiling, worst window", samples, "×", at_least(0.8)),
    )


SUITES: tuple[Suite, ...] = (
    Suite(
        "uplink",
        "outbox and uplink over a real Mosquitto",
        within(1800, script("uplink.py", "--json")),
        within(400, script("uplink.py", "--rounds", "1", "--messages", "4000", "--delay-seconds", "5", "--json")),
        (
            Figure(
                "durable uplink of 1 kB, of bare paho's rate",
                lambda d: d["uplink_ratio"],
                "×",
                at_least(0.8),
                "bare paho, QoS 1",
            ),
            Figure("from put to acknowledgement at 100/s, p95", lambda d: d["delay_p95_s"], "s", at_most(1.5)),
            Figure("memory that outbox and uplink add", lambda d: d["added_mb"], "MiB", at_most(12)),
            Figure("processor at rest, of a core", lambda d: d["at_rest_share_of_a_core"], "×", at_most(0.01)),
            Figure("bytes written to the disk, of the payload's", lambda d: d["wear_factor"], "×"),
        ),
        (program("mosquitto", "mosquitto"), module("deltalake", "fleet")),
    ),
    Suite(
        "ingest",
        "messages that wait, to the committed lake",
        within(1800, script("ingest.py", "--json")),
        within(300, script("ingest.py", "--rounds", "1", "--messages", "4000", "--json")),
        (
            Figure("ingest to the committed lake, out of a broker", lambda d: d["broker_per_s"], "/s", at_least(5000)),
            Figure("ingest alone", lambda d: d["alone_per_s"], "/s"),
            Figure("ingest, in a second of its processor", lambda d: d["alone_per_cpu_s"], "/s"),
            Figure("two shards, of one, where cores are free", lambda d: d["alone_two_ratio"], "×", at_least(1.7)),
            Figure("cores that were idle beside one ingest", lambda d: d["alone_idle_cores"], ""),
        ),
        (program("mosquitto", "mosquitto"), module("deltalake", "fleet")),
    ),
    Suite(
        "bridge",
        "a model's delivery over a paced serial line",
        within(300, script("bridge.py", "--json")),
        within(300, script("bridge.py", "--json")),
        (*delivered(115_200), *delivered(921_600)),
        (program("make", "make"), program("cc", "gcc")),
    ),
    Suite(
        "campaign",
        "faults on the way from device to lake",
        within(1200, script("campaign/run.py", "--json")),
        within(
            240,
            script(
                "campaign/run.py", "--messages", "4000", "--faults", "20", "--seconds", "30", "--drain", "120", "--json"
            ),
        ),
        (
            Figure("messages lost", lambda d: d["lost"], "", exactly(0)),
            Figure("stored twice", lambda d: d["duplicated"], "", exactly(0)),
            Figure("changed", lambda d: d["changed"], "", exactly(0)),
            Figure("faults", lambda d: d["faults_total"], ""),
        ),
        (program("mosquitto", "mosquitto"), module("deltalake", "fleet")),
    ),
)
