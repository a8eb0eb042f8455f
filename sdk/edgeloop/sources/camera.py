"""Inputs from a camera, through OpenCV."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop.sources.item import Item, SkippedItem, SourceItem

__all__ = ["Camera"]

_REOPEN_S = 1.0

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="camera"):
    """Frames of a V4L2 camera or a video file: uint8 (height, width, 3), RGB. Needs the extra `camera`.

    Args:
        device: the camera's number, its device file (`/dev/video0`), or a video file.
        width: asked of the camera, with `height`; None leaves its own.
        height: see `width`.
        fps: frames a second, asked of the camera; None leaves its own.
    """

    device: int | str = 0
    width: Positive | None = None
    height: Positive | None = None
    fps: Positive | None = None

    def open(self) -> Iterator[Item]:
        """Open the device; each frame is named by its number. A camera that is unplugged is opened again, for ever.

        Raises:
            ConfigError: it can't be opened.
            MissingExtraError: OpenCV isn't installed.
        """
        try:
            cv2 = importlib.import_module("cv2")
        except ImportError as error:
            raise MissingExtraError("camera", "cv2") from error
        capture = self._capture(cv2)
        if not capture.isOpened():
            raise ConfigError(f"camera {self.device!r}: it isn't there, is in use, or is no video")
        return self._frames(cv2, capture)

    def _capture(self, cv2: Any) -> Any:
        capture = cv2.VideoCapture(self.device)
        wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: self.width,
            cv2.CAP_PROP_FRAME_HEIGHT: self.height,
            cv2.CAP_PROP_FPS: self.fps,
        }
        for name, value in wanted.items():
            if value is not None:
                capture.set(name, value)
        return capture

    def _frames(self, cv2: Any, capture: Any) -> Iterator[Item]:
        ends = isinstance(self.device, str) and Path(self.device).is_file()  # a device file is no regular one
        number = 0
        try:
            while True:
                there, frame = capture.read()
                if there:
                    yield SourceItem(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), f"frame-{number}")
                    number += 1
                elif ends:
                    return
                else:
                    yield SkippedItem("the camera gives no frame", f"frame-{number}")
                    capture.release()
                    time.sleep(_REOPEN_S)
                    capture = self._capture(cv2)
        finally:
            capture.release()
