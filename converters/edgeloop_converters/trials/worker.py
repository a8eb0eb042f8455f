"""The process of one trial: `python -m edgeloop_converters.trials.worker JOB OUT` reads a job and fills a folder.

A process of its own, since TensorFlow's converter leaks some 20 MB a call (tensorflow #122598), and since a crash in a
kernel must not take the search along.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop_converters.evaluate import evaluate_file
from edgeloop_converters.quiet import quiet_tensorflow
from edgeloop_converters.recipes import RecipeData, apply_recipe
from edgeloop_converters.trials.trial import Trial, Trialled, read_bench, save_array

__all__ = ["do_trial", "main"]


def main(job: str, out: str) -> int:
    """Do the trial of the file `job` and write `result.json`, `model.tflite` and `output-I.npy` into `out`.

    The exit code is 0, a refusal by the recipe included; `ENOSPC` for a full disk; or Python's 1 for what was not
    foreseen.
    """
    threading.Thread(target=_die_with_parent, daemon=True).start()
    trial = msgspec.json.decode(Path(job).read_bytes(), type=Trial)
    _make_deterministic(trial.seed)
    try:
        result = do_trial(trial, Path(out))
        (Path(out) / "result.json").write_bytes(msgspec.json.encode(result))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return errno.ENOSPC
        raise
    return 0


def do_trial(trial: Trial, out: Path) -> Trialled:
    """Apply the recipe and evaluate what it makes; an `EdgeloopError` becomes the result's `error`."""
    start = time.monotonic()

    def made(**fields: object) -> Trialled:
        return Trialled(trial.recipe, trial.seed, trial.key, seconds=time.monotonic() - start, **fields)  # type: ignore[arg-type]  # its own fields

    try:
        model, arrays = read_bench(Path(trial.bench))
        data = RecipeData(arrays["calibration"], arrays["x"], arrays["y"])
        applied = apply_recipe(trial.recipe, model, data, seed=trial.seed)
        (out / "model.tflite").write_bytes(applied.model)
        if applied.float_model is not None:
            (out / "float.tflite").write_bytes(applied.float_model)
        evaluation, outputs = evaluate_file(applied.model, trial.recipe.compile, arrays["evaluation"])
    except EdgeloopError as error:
        return made(error=f"{type(error).__name__}: {error}")
    for index, values in enumerate(outputs):
        save_array(out / f"output-{index}.npy", values)
    return made(notes=applied.notes, evaluation=evaluation)


def _make_deterministic(seed: int) -> None:
    """The same bytes every time: seeds, TensorFlow's own switch, and one thread, since sums depend on their order."""
    quiet_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _die_with_parent() -> None:
    """The parent holds standard input open: when it ends, however it does, so does this process."""
    while os.read(0, 1):  # unbuffered: a lock on sys.stdin would stand in the way of a normal end
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
