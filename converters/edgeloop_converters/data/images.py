"""A folder of images by class: a subfolder is a class, an unreadable image is skipped and counted."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from edgeloop.errors import DataError, MissingExtraError
from edgeloop_converters.data.dataset import Array, Skipped

__all__ = ["ImageMode", "read_image_folder"]

ImageMode = Literal["RGB", "L"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


def read_image_folder(
    folder: Path, *, size: tuple[int, int] | None, mode: ImageMode, max_bytes: int
) -> tuple[Array, list[str] | None, tuple[str, ...], tuple[Skipped, ...]]:
    """All images under `folder`.

    Args:
        folder: with one subfolder a class, or with images only (then there are no labels).
        size: (height, width) to which every image is resized (bilinear); None keeps their one size.
        mode: "RGB" for three channels, "L" for one.
        max_bytes: the limit for the whole array.

    Returns:
        (n, height, width, channels) uint8, in the order of class and file name; each image's class name,
        or None; all class names, those of empty folders too, so that indices don't shift; and what was
        skipped. Hidden files are passed over silently.

    Raises:
        DataError: no readable image, sizes that differ without `size`, or images beside class folders.
        MissingExtraError: Pillow isn't installed.
    """
    files = [(p, None) for p in visible(folder) if p.is_file() and p.suffix.lower() in SUFFIXES]
    classes = [p for p in visible(folder) if p.is_dir()]
    if files and classes:
        raise DataError(
            f"{folder}: has images ({files[0][0].name}, …) beside class folders ({classes[0].name}, …); put "
            "every image into the folder of its class"
        )
    labelled: list[tuple[Path, str | None]] = [(p, c.name) for c in classes for p in visible(c)]
    pixels, names, skipped = [], [], []
    total_bytes = 0
    for path, name in labelled or files:
        image = read_image(path, size, mode)
        if isinstance(image, str):
            skipped.append(Skipped(str(path), image))
            continue
        total_bytes += image.nbytes
        if total_bytes > max_bytes:
            raise DataError(f"{folder}: its images take more than the limit of {max_bytes:,} bytes; resize them")
        pixels.append(image)
        names.append(name)
    if not pixels:
        reason = f"; the first of {len(skipped)} skipped: {skipped[0].what}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{folder}: no readable PNG, JPEG or BMP image, here or in class folders{reason}")
    shapes = Counter(p.shape[:2] for p in pixels)
    if len(shapes) > 1:
        common = ", ".join(f"{h}×{w} ({count})" for (h, w), count in shapes.most_common(3))
        raise DataError(f"{folder}: images differ in size: {common}; give the model's (height, width) to resize to")
    labels = [n for n in names if n is not None] or None
    return np.stack(pixels), labels, tuple(c.name for c in classes), tuple(skipped)


def visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def read_image(path: Path, size: tuple[int, int] | None, mode: ImageMode) -> Array | str:
    """(height, width, channels) uint8, or the reason why there is none."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("convert", "pillow") from error
    if path.suffix.lower() not in SUFFIXES:
        return "not a PNG, JPEG or BMP file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
                if image.mode.startswith(("I", "F")):
                    return f"more than 8 bits a channel (mode {image.mode}), which would be clipped"
                image.load()
                converted = image.convert(mode)
                if size is not None:
                    converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        return " ".join(str(error).split()) or type(error).__name__
    pixels = np.asarray(converted, np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
