"""A process that only runs and observes a model pays for nothing that a broker, TLS or a database bring along."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("paho", "ssl", "http", "email", "sqlite3", "cryptography", "subprocess", "importlib.metadata")


def test_running_and_observing_a_model_imports_no_broker_no_tls_and_no_database() -> None:
    parts = "runtime, edgeloop.config, edgeloop.observer, edgeloop.stats, edgeloop.shadow, edgeloop.execution"
    # the interpreter and numpy are there before: what they bring is theirs
    program = (
        "import sys, numpy.random, edgeloop.backends as b; b.available_backends()\n"
        "import importlib; importlib.import_module(b.BACKENDS[b.available_backends()[0]][1])\n"
        f"before = set(sys.modules)\nimport edgeloop.{parts}\nprint(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert "edgeloop.observer" in found
    assert [name for name in found if name in HEAVY] == []
