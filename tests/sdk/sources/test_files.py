"""Sources that read files: arrays, images, tables, sound, lines of JSON."""

from __future__ import annotations

import math
import os
import struct
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ConfigError, DataError, MissingExtraError
from edgeloop.sources import (
    Arrays,
    Camera,
    CsvRows,
    Images,
    Item,
    JsonLines,
    Microphone,
    SkippedItem,
    SourceItem,
    Wav,
    open_source,
)
from edgeloop.sources.windows import sliding_windows


def good(items: list[Item]) -> list[SourceItem]:
    return [item for item in items if isinstance(item, SourceItem)]


def reasons(items: list[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, SkippedItem)]


class TestArrays:
    @pytest.mark.parametrize("name", ["x.npy", "x.npz"])
    def test_rows_come_in_order_named_by_their_number(self, tmp_path: Path, name: str) -> None:
        x = np.arange(12, dtype=np.float32).reshape(3, 4)
        np.save(tmp_path / name, x) if name.endswith("npy") else np.savez(tmp_path / name, x=x)
        items = good(list(open_source(Arrays(str(tmp_path / name)))))
        assert np.array_equal([item.x for item in items], x)
        assert [item.ref for item in items] == ["0", "1", "2"]

    def test_several_inputs_come_by_their_names(self, tmp_path: Path) -> None:
        left, right = np.arange(6).reshape(3, 2), np.ones((3, 4), np.float32)
        np.savez(tmp_path / "x.npz", **{"x.left": left, "x.right": right, "y": np.zeros(3)})
        items = good(list(open_source(Arrays(str(tmp_path / "x.npz")))))
        assert [item.x["left"].tolist() for item in items] == left.tolist()
        assert all(np.array_equal(item.x["right"], right[0]) for item in items)
        np.savez(tmp_path / "x.npz", **{"x.left": left, "x.right": right[:2]})
        with pytest.raises(DataError, match=r"different numbers of rows: \{'left': 3, 'right': 2\}"):
            Arrays(str(tmp_path / "x.npz")).open()

    def test_a_loop_starts_over(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 4)))
        items = Arrays(str(tmp_path / "x.npy"), loop=True).open()
        assert [next(items).ref for _ in range(5)] == ["0", "1", "0", "1", "0"]

    def test_what_is_not_there_is_said_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Arrays(str(tmp_path / "none.npy")).open()
        np.savez(tmp_path / "y.npz", y=np.zeros(3))
        with pytest.raises(DataError, match="no array named `x`"):
            Arrays(str(tmp_path / "y.npz")).open()


class TestImages:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        image = pytest.importorskip("PIL.Image", reason="the images extra isn't installed")
        folder = tmp_path / "photos"
        folder.mkdir()
        for i, name in enumerate(["b.png", "a.jpg", "c.png"]):
            image.fromarray(np.full((20, 30, 3), 80 * i, np.uint8)).save(folder / name)
        whole = (folder / "c.png").read_bytes()
        (folder / "c.png").write_bytes(whole[: len(whole) // 2])
        (folder / "d.png").write_text("no image")
        (folder / "notes.txt").write_text("left out")
        return folder

    def test_a_folder_s_images_come_by_name_and_bad_ones_are_skipped(self, photos: Path) -> None:
        items = list(Images(str(photos)).open())
        assert [item.ref for item in items] == ["a.jpg", "b.png", "c.png", "d.png"]
        assert [item.x.shape for item in good(items)] == [(20, 30, 3)] * 2
        assert reasons(items) == ["not a readable image"] * 2
        assert np.all(good(items)[1].x == 0)

    def test_gray_keeps_a_channel(self, photos: Path) -> None:
        (item,) = Images(str(photos / "b.png"), mode="L").open()
        assert isinstance(item, SourceItem)
        assert (item.x.shape, item.x.dtype) == ((20, 30, 1), np.uint8)

    def test_a_missing_and_an_empty_folder(self, tmp_path: Path, photos: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Images(str(tmp_path / "none")).open()
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="no images"):
            Images(str(tmp_path / "empty")).open()


class TestCsv:
    def read(self, tmp_path: Path, text: str, **options: object) -> list[Item]:
        (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
        return list(CsvRows(str(tmp_path / "x.csv"), **options).open())

    def test_columns_are_chosen_by_name(self, tmp_path: Path) -> None:
        items = self.read(tmp_path, "a,b,c\n1,2,3\n4,5,6\n", columns=("c", "a"))
        assert [item.x.tolist() for item in good(items)] == [[3, 1], [6, 4]]
        assert [item.ref for item in items] == ["line 2", "line 3"]

    def test_bad_rows_are_skipped_with_their_reasons(self, tmp_path: Path) -> None:
        text = "a,b\n1,2\nx,2\n1\n1,\n\xff,1\n" + '"' + "9" * 200_000 + '",1\n3,4\n'
        items = self.read(tmp_path, text)
        assert [item.x.tolist() for item in good(items)] == [[1, 2], [3, 4]]
        assert reasons(items) == [
            "a cell that is no number",
            "a row of another length",
            "a cell that is no number",
            "a cell that is no number",
            "not a CSV row",
        ]

    def test_empty_cells_may_be_missing_values(self, tmp_path: Path) -> None:
        (item,) = good(self.read(tmp_path, "a,b\n1,\n", missing="nan"))
        assert np.array_equal(item.x, [1, np.nan], equal_nan=True)

    def test_a_column_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="'z' in its header: a, b"):
            self.read(tmp_path, "a,b\n1,2\n", columns=("a", "z"))


def tone(seconds: float, rate: int = 8000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def wav_bytes(x: np.ndarray, code: int, rate: int = 8000) -> bytes:
    """A WAV file's bytes, (frames, channels); `code` is 1 for PCM and 3 for float, 0xFFFE for extensible PCM."""
    bits, channels = x.itemsize * 8, x.shape[1]
    form = struct.pack("<HHIIHH", code, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    if code == 0xFFFE:
        form += struct.pack("<HHIH", 22, bits, 0, 1) + b"\0" * 14
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"LIST\x03\0\0\0abc\0"
    data = x.tobytes()
    return b"RIFF" + struct.pack("<I", len(body) + 8 + len(data)) + body + b"data" + struct.pack("<I", len(data)) + data


class TestWav:
    def test_windows_of_a_file_that_python_wrote(self, tmp_path: Path) -> None:
        x = (tone(1) * 32767).astype("<i2")
        with wave.open(str(tmp_path / "x.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(x.tobytes())
        items = good(list(Wav(str(tmp_path / "x.wav"), 0.5, 0.25).open()))
        assert [item.ref for item in items] == ["0.000 s", "0.250 s", "0.500 s"]
        assert items[1].x.dtype == np.float32
        assert items[1].x == pytest.approx(x[2000:6000] / 32768)

    @pytest.mark.parametrize(
        ("dtype", "code", "full"), [("<i2", 1, 2**15), ("<i2", 0xFFFE, 2**15), ("<i4", 1, 2**31), ("<f4", 3, 1)]
    )
    def test_each_sample_format_is_minus_one_to_one_and_stereo_is_averaged(
        self, tmp_path: Path, dtype: str, code: int, full: int
    ) -> None:
        left, right = tone(0.25), np.zeros(2000)
        stereo = (np.stack([left, right], axis=1) * (full - 1 if full > 1 else 1)).astype(dtype)
        (tmp_path / "x.wav").write_bytes(wav_bytes(stereo, code))
        (item,) = good(list(Wav(str(tmp_path / "x.wav"), 0.25).open()))
        assert item.x == pytest.approx(left / 2, abs=1e-4)

    def test_a_recorder_s_pipe_is_read_as_it_comes(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        data = wav_bytes((tone(1)[:, np.newaxis] * 32767).astype("<i2"), 1)
        endless = data[:-16004] + b"\xff\xff\xff\x7f" + data[-16000:-1]  # as arecord writes it; killed in a sample

        def record() -> None:
            with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
                for i in range(0, len(endless), 777):
                    pipe.write(endless[i : i + 777])

        recorder = threading.Thread(target=record)
        recorder.start()
        items = list(Wav(str(tmp_path / "pipe"), 0.3).open())
        recorder.join()
        assert len(good(items)) == 3

    @pytest.mark.parametrize("cut", [0, 3, 11, 20, 30, 43])
    def test_a_header_that_was_cut_off_is_a_data_error(self, tmp_path: Path, cut: int) -> None:
        (tmp_path / "x.wav").write_bytes(wav_bytes(np.zeros((9, 1), "<i2"), 1)[:cut])
        with pytest.raises(DataError, match=r"x\.wav"):
            Wav(str(tmp_path / "x.wav"), 0.1).open()

    def test_a_file_shorter_than_a_window_is_a_skip(self, tmp_path: Path) -> None:
        (tmp_path / "x.wav").write_bytes(wav_bytes(np.zeros((9, 1), "<i2"), 1))
        assert reasons(list(Wav(str(tmp_path / "x.wav"), 0.1).open())) == ["shorter than a window"]
        with pytest.raises(ConfigError, match="less than one sample"):
            Wav(str(tmp_path / "x.wav"), 1e-9).open()


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 25), st.integers(1, 40))
def test_windows_do_not_depend_on_how_the_signal_was_cut(lengths: list[int], window: int, hop: int) -> None:
    signal = np.arange(sum(lengths), dtype=np.float32)
    ends = np.cumsum(lengths)
    found = list(sliding_windows(np.split(signal, ends[:-1]) if lengths else [], window, hop))
    starts = range(0, len(signal) - window + 1, hop)
    assert [start for start, _ in found] == list(starts)
    assert all(np.array_equal(x, signal[start : start + window]) for start, x in found)


class TestJsonLines:
    def read(self, tmp_path: Path, data: bytes, **options: int) -> list[Item]:
        (tmp_path / "x.jsonl").write_bytes(data)
        return list(JsonLines(str(tmp_path / "x.jsonl"), **options).open())

    def test_lists_and_objects_and_what_is_neither(self, tmp_path: Path) -> None:
        lines = b'[1, 2.5]\n{"x": [[1], [2]], "ref": "me"}\nbad\n\n{"y": 1}\n[[1], [2, 3]]\n["on", null, 2]\n\xff\n[3]'
        items = self.read(tmp_path, lines)
        assert [(item.ref, item.x.tolist()) for item in good(items)] == [
            ("line 1", [1, 2.5]),
            ("me", [[1], [2]]),
            ("line 7", ["on", None, 2]),
            ("line 9", [3]),
        ]
        assert reasons(items) == [
            "not JSON of an input",
            "not JSON of an input",
            "lists of different lengths",
            "not JSON of an input",
        ]

    def test_a_flood_without_an_end_of_line_is_one_skip(self, tmp_path: Path) -> None:
        items = self.read(tmp_path, b"[1]\n" + b"[" * 300_000 + b"\n[2]\n", max_line_bytes=1000)
        assert [item.x.tolist() for item in good(items)] == [[1], [2]]
        assert reasons(items) == ["a line that is too long"]

    def test_deep_nesting_is_a_skip(self, tmp_path: Path) -> None:
        assert len(reasons(self.read(tmp_path, b"[" * 200_000 + b"\n" + b"[" * 60 + b"1" + b"]" * 60 + b"\n"))) >= 1

    @given(st.binary(max_size=200))
    def test_no_bytes_at_all_stop_it(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
        path.write_bytes(data)
        list(JsonLines(str(path)).open())


class TestCamera:
    def test_without_opencv_it_says_which_extra(self) -> None:
        try:
            import cv2  # noqa: F401
        except ImportError:
            with pytest.raises(MissingExtraError, match=r"edgeloop\[camera\]"):
                Camera().open()

    def test_a_video_file_gives_its_frames_in_rgb(self, tmp_path: Path) -> None:
        cv2 = pytest.importorskip("cv2", reason="the camera extra isn't installed")
        path = str(tmp_path / "x.avi")
        writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
        for _ in range(5):
            writer.write(np.full((48, 64, 3), (255, 0, 0), np.uint8))  # blue, in OpenCV's order
        writer.release()
        items = good(list(Camera(path).open()))
        assert [item.x.shape for item in items] == [(48, 64, 3)] * 5
        assert items[0].x[20, 20, 2] > 200 > 50 > items[0].x[20, 20, 0]

    def test_a_device_that_is_not_there(self, tmp_path: Path) -> None:
        pytest.importorskip("cv2", reason="the camera extra isn't installed")
        with pytest.raises(ConfigError, match="camera"):
            Camera(str(tmp_path / "none.avi")).open()


class TestMicrophone:
    def test_without_miniaudio_it_says_which_extra(self) -> None:
        try:
            import miniaudio  # noqa: F401
        except ImportError:
            with pytest.raises(MissingExtraError, match=r"edgeloop\[microphone\]"):
                Microphone(1.0).open()

    def test_the_null_backend_hears_silence_at_the_stated_rate(self) -> None:
        pytest.importorskip("miniaudio", reason="the microphone extra isn't installed")
        items = Microphone(0.1, 0.05, backend="null").open()
        heard = [next(items) for _ in range(4)]
        items.close()
        assert [item.ref for item in heard] == ["0.000 s", "0.050 s", "0.100 s", "0.150 s"]
        assert all(item.x.shape == (1600,) and math.isclose(float(np.abs(item.x).max()), 0) for item in heard)

    def test_one_that_is_unplugged_is_opened_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        miniaudio = pytest.importorskip("miniaudio", reason="the microphone extra isn't installed")
        monkeypatch.setattr("edgeloop.sources.microphone._SILENT_S", 0.3)
        monkeypatch.setattr("edgeloop.sources.microphone._REOPEN_S", 0.01)
        real, opened = miniaudio.CaptureDevice, []

        def device(**options: object) -> object:
            opened.append(None if len(opened) == 1 else real(**options))
            if opened[-1] is None:
                raise miniaudio.MiniaudioError("still away")
            return opened[-1]

        monkeypatch.setattr(miniaudio, "CaptureDevice", device)
        items = Microphone(0.1, backend="null").open()
        assert isinstance(next(items), SourceItem)
        opened[0].stop()
        while len(opened) < 3:
            heard = next(items)
        items.close()
        assert isinstance(heard, SourceItem)
        assert heard.ref == "0.000 s", "its own time starts anew"

    def test_an_unknown_backend_is_a_config_error(self) -> None:
        pytest.importorskip("miniaudio", reason="the microphone extra isn't installed")
        with pytest.raises(ConfigError, match="no backend 'gramophone'"):
            Microphone(1.0, backend="gramophone").open()
