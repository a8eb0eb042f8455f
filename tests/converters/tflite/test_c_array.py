"""The C array holds the model's bytes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeloop.errors import ConfigError
from edgeloop_converters.tflite import model_to_c
from tflite_samples import Published

MAIN = """
#include <stdint.h>
#include <stdio.h>
#include "kws_model.h"
int main(void) {
  if ((uintptr_t)kws_model % 16 != 0 || sizeof(kws_model) != kws_model_len) return 1;
  return fwrite(kws_model, 1, kws_model_len, stdout) != kws_model_len;
}
"""


@pytest.mark.parametrize(("compiler", "suffix", "standard"), [("gcc", "c", "c11"), ("g++", "cc", "c++11")])
def test_compiled_array_is_the_model(
    published: Published, tmp_path: Path, compiler: str, suffix: str, standard: str
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    made = model_to_c("kws_model", published.kws_int8)
    (tmp_path / "kws_model.h").write_text(made.header)
    (tmp_path / f"kws_model.{suffix}").write_text(made.source)
    (tmp_path / f"main.{suffix}").write_text(MAIN)
    flags = [
        f"-std={standard}",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        "dump",
        f"main.{suffix}",
        f"kws_model.{suffix}",
    ]
    subprocess.run([compiler, *flags], cwd=tmp_path, check=True)
    dumped = subprocess.run([tmp_path / "dump"], check=True, capture_output=True).stdout
    assert dumped == published.kws_int8


@pytest.mark.parametrize("name", ["", "7up", "a-b", "a b", "é"])
def test_what_is_no_identifier_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="can't name a C array"):
        model_to_c(name, b"x")


def test_empty_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no bytes"):
        model_to_c("model", b"")
