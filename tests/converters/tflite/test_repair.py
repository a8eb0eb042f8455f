"""Old files are mended so that tools see what is in them, and answer as before."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from edgeloop_converters.tflite import describe, parse, repair, run, serialize
from edgeloop_converters.tflite.kernels import Kernels
from tflite_samples import Converted, Published, features, spectra


@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_repaired_models_answer_bit_identically(published: Published, kernels: Kernels) -> None:
    for model, x in ((published.ad_float, spectra(4, 0)), (published.kws_hybrid, features(4, 0))):
        mended = repair(model)
        assert mended.changes
        assert np.array_equal(run(mended.model, x, kernels=kernels)[0], run(model, x, kernels=kernels)[0])


def test_codes_of_old_files_are_filled(published: Published) -> None:
    assert describe(published.kws_hybrid).deprecated_codes == 6
    facts = describe(repair(published.kws_hybrid).model)
    assert facts.deprecated_codes == 0
    assert facts.op_counts == describe(published.kws_hybrid).op_counts


def test_a_signature_is_added_that_runs(published: Published) -> None:
    from ai_edge_litert.interpreter import Interpreter

    mended = repair(published.ad_int8).model
    (signature,) = describe(mended).signatures
    assert (signature.key, signature.inputs, signature.outputs) == (
        "serving_default",
        {"input_1": 0},
        {"Identity": 30},
    )
    answer = Interpreter(model_content=mended).get_signature_runner("serving_default")(
        input_1=np.zeros((1, 640), np.int8)
    )
    assert answer["Identity"].shape == (1, 640)


def test_doubly_named_and_unnamed_tensors_get_their_own_names(published: Published) -> None:
    tree = parse(published.kws_int8)
    tensors = tree.subgraphs[0].tensors
    tensors[4].name = tensors[3].name
    tensors[5].name = None
    mended = repair(serialize(tree))
    names = [t.name for t in describe(mended.model).tensors]
    assert len(set(names)) == len(names)
    assert all(names)
    assert any("2 unnamed or doubly named" in line for line in mended.changes)


@pytest.mark.tf
def test_a_file_that_needs_nothing_comes_back_as_it_is(converted: Converted) -> None:
    mended = repair(converted.real)
    assert mended.model is converted.real
    assert mended.changes == ()


def test_a_mended_file_needs_nothing(published: Published) -> None:
    mended = repair(published.kws_int8).model
    assert repair(mended) == type(repair(mended))(mended, ())


def test_a_zip_behind_the_model_is_dropped_with_a_word(published: Published) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("labels.txt", "yes\nno\n")
    mended = repair(published.kws_int8 + packed.getvalue())
    assert any("ZIP" in line for line in mended.changes)
    assert not zipfile.is_zipfile(io.BytesIO(mended.model))
