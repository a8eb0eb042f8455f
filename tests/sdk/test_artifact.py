from __future__ import annotations

import io
import subprocess
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop.artifact import Artifact, pack_artifact, read_artifact, write_artifact
from edgeloop.errors import (
    ExpiredError,
    ForeignZipError,
    ManifestDamagedError,
    ModelDamagedError,
    NoManifestError,
    NotTfliteError,
    OlderVersionError,
    SignatureError,
    TruncatedError,
)
from tiny_models import tiny_model


def test_what_is_written_is_read_back(tmp_path: Path, make_artifact, key: Ed25519PrivateKey) -> None:
    artifact = make_artifact(version=7)
    write_artifact(tmp_path / "a.tflite", artifact)
    read = read_artifact(tmp_path / "a.tflite")
    assert read.manifest == artifact.manifest
    assert read.model == tiny_model()
    read.verify([key.public_key()], newer_than=6)


def test_the_same_content_gives_the_same_bytes(make_artifact) -> None:
    created = "2026-01-01T00:00:00+00:00"
    assert make_artifact(created=created).to_bytes() == make_artifact(created=created).to_bytes()


def test_interpreters_load_the_file_as_it_is(make_artifact) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=make_artifact().to_bytes())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 4), dtype=np.float32))
    interpreter.invoke()
    probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert probabilities.sum() == pytest.approx(1)


def test_unzip_lists_it(tmp_path: Path, make_artifact) -> None:
    write_artifact(tmp_path / "a.tflite", make_artifact())
    try:
        done = subprocess.run(["unzip", "-l", tmp_path / "a.tflite"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unzip on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "edgeloop/manifest.json" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("signed", [True, False])
def test_a_flipped_bit_in_any_byte_is_refused(make_artifact, signed: bool, key: Ed25519PrivateKey) -> None:
    data = make_artifact(signed=signed, baseline=None).to_bytes()
    model_size = len(tiny_model())
    # One bit of each byte of the model; each bit of the manifest and the ZIP, whose reader has more ways to fail.
    flips = [(i, i % 8) for i in range(model_size)] + [(i, b) for i in range(model_size, len(data)) for b in range(8)]
    for position, bit in flips:
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        expected = ModelDamagedError if position < model_size else (ManifestDamagedError, SignatureError)
        with pytest.raises(expected):
            read_artifact(bytes(damaged)).verify([key.public_key()])


def test_a_file_cut_off_anywhere_is_refused_as_truncated(make_artifact) -> None:
    data = make_artifact(baseline=None).to_bytes()
    model_size = len(tiny_model())
    with pytest.raises(NotTfliteError):
        read_artifact(data[:4])
    for length in range(8, len(data)):
        with pytest.raises((TruncatedError, NoManifestError) if length >= model_size else TruncatedError):
            read_artifact(data[:length])
    in_the_manifest = data[: model_size + 100]
    with pytest.raises(TruncatedError, match="cut off in its manifest"):
        read_artifact(in_the_manifest)


def test_a_plain_tflite_is_refused_as_one_without_a_manifest() -> None:
    with pytest.raises(NoManifestError, match="plain"):
        read_artifact(tiny_model())


def test_a_model_with_a_foreign_zip_is_refused() -> None:
    buffer = io.BytesIO(tiny_model())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("labels.txt", "a\nb\n")
    with pytest.raises(ForeignZipError, match=r"labels\.txt"):
        read_artifact(buffer.getvalue())


def test_a_zip_that_was_rewritten_is_refused(make_artifact) -> None:
    artifact = make_artifact()
    buffer = io.BytesIO(artifact.model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edgeloop/manifest.json", artifact.raw_manifest)
    with pytest.raises(ManifestDamagedError, match="rewritten"):
        read_artifact(buffer.getvalue())


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"just some text\n", "something else"), (b"PK\x03\x04" + b"x" * 40, "a ZIP"), (b"", "0 bytes")],
)
def test_what_is_no_tflite_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "notes.tflite"
    path.write_bytes(content)
    with pytest.raises(NotTfliteError, match=what) as caught:
        read_artifact(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_artifact(tmp_path / "none.tflite")


def test_another_key_is_refused(make_artifact) -> None:
    with pytest.raises(SignatureError, match="isn't trusted"):
        make_artifact().verify([Ed25519PrivateKey.generate().public_key()])


def test_an_unsigned_artifact_is_refused(make_artifact, key: Ed25519PrivateKey) -> None:
    with pytest.raises(SignatureError, match="not signed"):
        make_artifact(signed=False).verify([key.public_key()])


def test_a_signature_of_another_manifest_is_refused(make_artifact, key: Ed25519PrivateKey) -> None:
    one, two = make_artifact(version=1), make_artifact(version=2)
    forged = Artifact(two.model, two.manifest, two.raw_manifest, one.signature, "forged")
    with pytest.raises(SignatureError, match="altered"):
        read_artifact(forged.to_bytes()).verify([key.public_key()])


@pytest.mark.parametrize("running", [3, 4])
def test_a_version_that_is_not_newer_is_refused(make_artifact, key: Ed25519PrivateKey, running: int) -> None:
    with pytest.raises(OlderVersionError):
        make_artifact(version=3).verify([key.public_key()], newer_than=running)


def test_an_expired_artifact_is_refused(make_artifact, key: Ed25519PrivateKey) -> None:
    artifact = make_artifact(expires="2026-06-01T00:00:00+00:00")
    expiry = datetime(2026, 6, 1, tzinfo=timezone.utc)
    artifact.verify([key.public_key()], now=expiry - timedelta(seconds=1))
    with pytest.raises(ExpiredError):
        artifact.verify([key.public_key()], now=expiry)


def test_a_manifest_of_a_newer_format_says_to_upgrade(make_artifact) -> None:
    with pytest.raises(ManifestDamagedError, match="upgrade edgeloop"):
        make_artifact(format=99)


def test_packing_an_artifact_again_drops_the_old_manifest(make_artifact) -> None:
    old = make_artifact(version=1)
    new = pack_artifact(old.to_bytes(), make_artifact(version=2).manifest)
    assert read_artifact(new.to_bytes()).manifest.version == 2
    assert new.model == old.model


def test_a_truncated_model_is_not_packed(make_artifact) -> None:
    with pytest.raises(TruncatedError):
        pack_artifact(tiny_model()[:-10], make_artifact().manifest)


def test_the_published_models_are_seen_as_whole_and_as_cut(shared_dir: Path) -> None:
    for path in sorted((shared_dir / "models").glob("*.tflite")):
        data = path.read_bytes()
        with pytest.raises(NoManifestError):
            read_artifact(data)
        for lost in (1, 100, len(data) // 2):
            with pytest.raises(TruncatedError):
                read_artifact(data[:-lost])
