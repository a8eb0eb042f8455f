"""Delegates: what can't be had is said, and the model runs all the same."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeloop.backends import open_backend
from edgeloop.placement import Op, keeps_its_memory, outside_of_delegates
from edgeloop.runtime import Runtime

X = np.array([0.0, 1.0, 0.0, 0.0], dtype=np.float32)

# TfLiteDelegate (tensorflow/lite/core/c/common.h): data, Prepare, three buffer functions, flags, an opaque builder.
DELEGATE = """
#include <stddef.h>
#include <stdint.h>
typedef struct Delegate {
  void* data;
  int (*prepare)(void* context, struct Delegate* delegate);
  void *from, *to, *release;
  int64_t flags;
  void* builder;
} Delegate;
static int takes_nothing(void* context, Delegate* delegate) { return 0; }
static int refuses(void* context, Delegate* delegate) { return 1; }
static Delegate made = { .prepare = %s };
void* tflite_plugin_create_delegate(char** keys, char** values, size_t n, void (*report)(const char*)) {
  %s
  return &made;
}
void tflite_plugin_destroy_delegate(void* delegate) {}
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build a delegate with")

    def build(name: str, source: str) -> str:
        library = tmp_path_factory.mktemp("delegate") / f"{name}.so"
        command = [compiler, "-shared", "-fPIC", "-o", str(library), "-x", "c", "-"]
        subprocess.run(command, input=source, text=True, check=True)
        return str(library)

    return build


def falls_back(artifact, delegate: str, caplog: pytest.LogCaptureFixture) -> str:
    """The reason that a runtime gives for running on the CPU, which it does, and which is logged in one line."""
    with caplog.at_level(logging.WARNING):
        runtime = Runtime(artifact, delegate=delegate)
    assert runtime.run(X).index == 1
    assert runtime.placement.delegate is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"delegate {delegate}: {runtime.placement.fallback}: the model runs on the CPU"
    return str(runtime.placement.fallback)


def test_a_delegate_that_loads_is_in_use(make_artifact, build) -> None:
    library = build("nothing", DELEGATE % ("takes_nothing", ""))
    runtime = Runtime(make_artifact(), delegate=library)
    assert (runtime.placement.delegate, runtime.placement.fallback) == (library, None)
    assert runtime.run(X).output == pytest.approx(Runtime(make_artifact()).run(X).output)
    assert runtime.run_batch(np.tile(X, (40, 1))).argmax(axis=1).tolist() == [1] * 40


@pytest.mark.parametrize("name", ["edgetpu", "gpu"])
def test_a_vendor_s_delegate_that_is_not_installed(make_artifact, caplog, name: str) -> None:
    assert "cannot open shared object file" in falls_back(make_artifact(), name, caplog)


def test_a_file_that_is_no_library(make_artifact, tmp_path: Path, caplog) -> None:
    path = tmp_path / "garbage.so"
    path.write_bytes(b"\x7fELF and no more")
    assert "garbage.so" in falls_back(make_artifact(), str(path), caplog)


def test_a_library_that_is_no_delegate(make_artifact, build, caplog) -> None:
    library = build("other", "int f(void) { return 0; }")
    assert "it has no tflite_plugin_create_delegate" in falls_back(make_artifact(), library, caplog)


def test_a_delegate_that_finds_no_device(make_artifact, build, caplog) -> None:
    library = build("none", DELEGATE % ("takes_nothing", 'report("no device"); return NULL;'))
    assert "no device" in falls_back(make_artifact(), library, caplog)


def test_a_delegate_that_refuses_the_model(make_artifact, build, caplog) -> None:
    library = build("refuses", DELEGATE % ("refuses", ""))
    assert falls_back(make_artifact(), library, caplog)


def test_what_runs_outside_of_the_delegate_is_said_at_load(shared_dir: Path) -> None:
    backend = open_backend((shared_dir / "models" / "kws_int8.tflite").read_bytes())
    assert backend.placement.outside == ("AVERAGE_POOL_2D", "SOFTMAX")
    assert backend.placement.operators == 13
    reference = open_backend((shared_dir / "models" / "kws_int8.tflite").read_bytes(), kernels="reference")
    assert len(reference.placement.outside) == reference.placement.operators == 13


def op(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...], *dtypes: str) -> Op:
    return Op(name, inputs, outputs, dtypes or ("float32",) * len(inputs))


def test_what_a_delegate_has_inside_is_its_own_though_no_node_names_it() -> None:
    ops = [
        op("ADD", (0, 1), (2,)),
        op("MUL", (2, 1), (3,)),
        op("WHERE", (3,), (4,)),
        op("ADD", (4, 1), (5,)),
        op("DELEGATE", (0, 1), (3,)),
    ]
    assert outside_of_delegates(ops) == ("WHERE", "ADD")


@pytest.mark.parametrize(
    ("ops", "keeps"),
    [
        ([op("ADD", (0, 1), (2,))], True),
        ([op("RESHAPE", (0, 9), (2,), "float32", "int32")], True),  # to a constant shape
        ([op("RESHAPE", (0, 1), (2,), "float32", "int32")], False),  # to one that comes in
        ([op("ARG_MAX", (0, 9), (2,), "float32", "int32"), op("RESHAPE", (0, 2), (3,), "float32", "int32")], False),
        ([op("ADD", (0, 1), (2,)), op("WHERE", (2,), (3,))], False),
        ([], False),
    ],
)
def test_memory_stays_only_where_no_shape_can_come_from_the_data(ops: list[Op], keeps: bool) -> None:
    assert keeps_its_memory(ops, [0, 1]) is keeps
