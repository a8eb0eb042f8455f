"""Inputs from image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from edgeloop.errors import DataError, MissingExtraError
from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.pacing import paced

__all__ = ["SUFFIXES", "Images"]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class Images(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="images"):
    """An image, or a folder's images in the order of their names. Needs the extra `images`.

    Args:
        path: the file or the folder; folders in it are left out.
        mode: "RGB" gives (height, width, 3), "L" (height, width, 1), "L2" (height, width); uint8 all.
        rate_hz: images a second; None is as fast as they are taken.
        loop: start over at the end, for ever; a folder is listed anew.
    """

    path: str
    mode: Literal["RGB", "L", "L2"] = "RGB"
    rate_hz: Annotated[float, msgspec.Meta(gt=0)] | None = None
    loop: bool = False

    def open(self) -> Iterator[Item]:
        """List the images; each is named by its file. One that can't be decoded is skipped.

        Raises:
            OSError: no such file or folder.
            DataError: the folder holds no images.
            MissingExtraError: Pillow isn't installed.
        """
        try:
            import PIL.Image  # noqa: F401  # asked for here, so that what is missing shows at the start
        except ImportError as error:
            raise MissingExtraError("images", "PIL") from error
        if not self._files():
            raise DataError(f"{self.path}: no images in this folder ({', '.join(sorted(SUFFIXES))})")
        return paced(self._images(), self.rate_hz)

    def _files(self) -> list[Path]:
        path = Path(self.path)
        if not path.is_dir():
            path.stat()
            return [path]
        return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)

    def _images(self) -> Iterator[Item]:
        while True:
            yield from map(self._read, self._files())
            if not self.loop:
                return

    def _read(self, path: Path) -> Item:
        from PIL import Image

        try:
            with Image.open(path) as image:
                x = np.asarray(image.convert("RGB" if self.mode == "RGB" else "L"))
        except Exception as error:  # noqa: BLE001  # each of Pillow's decoders has errors of its own
            return SkippedItem("not a readable image", path.name, str(error))
        return SourceItem(x[..., np.newaxis] if self.mode == "L" else x, path.name)
