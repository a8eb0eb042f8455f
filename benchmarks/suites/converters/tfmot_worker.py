"""TensorFlow's own optimization toolkit on ResNet8, in an environment of its own: `tfmot_worker.py JOB.npz FOLDER`.

The job holds the weights by layer (`weights/LAYER/INDEX`), the training part (`x`, `y`), calibration samples, and some
inputs with the answers of the original (`probe`, `answers`), by which it is checked that the network rebuilt in
tf_keras is the same. Written into the folder: one full-integer `.tflite` file for each method, and `notes.json`.
Nothing of edgeloop is imported: the environment holds what tensorflow-model-optimization needs and no more.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np

EPOCHS, BATCH, RATE = 3, 64, 1e-4  # as in edgeloop's own `int8-qat`
SPARSITY, CLUSTERS = 0.5, 16
SAME = 1e-4


def original(job: Any) -> Any:
    import tf_keras
    from resnet8 import build

    model = build(tf_keras)
    for layer in model.layers:
        prefix = f"weights/{layer.name}/"
        count = sum(name.startswith(prefix) for name in job.files)
        layer.set_weights([job[f"{prefix}{i}"] for i in range(count)])
    off = float(np.abs(model.predict(job["probe"], verbose=0) - job["answers"]).max())
    if off > SAME:
        sys.exit(f"the network rebuilt in tf_keras answers differently, by up to {off:g}")
    print(f"rebuilt in tf_keras: answers differ by {off:.1e} at most", file=sys.stderr)
    return model


def tuned(model: Any, job: Any, callbacks: list[Any]) -> Any:
    import tf_keras

    rate = tf_keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(job["x"]) // BATCH))
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(job["x"], job["y"], BATCH, EPOCHS, verbose=0, callbacks=callbacks)
    return model


def pruned(model: Any, job: Any) -> Any:
    import tensorflow_model_optimization as tfmot

    sparsity = tfmot.sparsity.keras
    schedule = sparsity.PolynomialDecay(0.0, SPARSITY, 0, len(job["x"]) // BATCH * 2, frequency=50)
    masked = sparsity.prune_low_magnitude(model, pruning_schedule=schedule)
    return sparsity.strip_pruning(tuned(masked, job, [sparsity.UpdatePruningStep()]))


def clustered(model: Any, job: Any) -> Any:
    import tensorflow_model_optimization as tfmot

    clustering = tfmot.clustering.keras
    start = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    shared = clustering.cluster_weights(model, number_of_clusters=CLUSTERS, cluster_centroids_init=start)
    return clustering.strip_clustering(tuned(shared, job, []))


def aware(model: Any, job: Any) -> Any:
    import tensorflow_model_optimization as tfmot

    return tuned(tfmot.quantization.keras.quantize_model(model), job, [])


def int8(model: Any, samples: Any) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([s[None]] for s in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    import tf_keras

    job, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    notes = {}
    methods = {
        f"prune {SPARSITY:.0%} of weights, {EPOCHS} epochs, int8": pruned,
        f"cluster {CLUSTERS}, {EPOCHS} epochs, int8": clustered,
        f"QAT, {EPOCHS} epochs, int8": aware,
    }
    for number, (name, method) in enumerate(methods.items()):
        start = time.monotonic()
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(0)
        try:
            model = int8(method(original(job), job), job["calibration"])
        except Exception as error:  # noqa: BLE001  # whatever stops a peer stands in its row
            notes[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            continue
        (folder / f"{number}.tflite").write_bytes(model)
        notes[name] = {"file": f"{number}.tflite", "seconds": time.monotonic() - start}
        print(f"{name}: {len(model):,} bytes in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    (folder / "notes.json").write_text(json.dumps(notes), encoding="utf-8")


if __name__ == "__main__":
    main()
