"""The camera of a demo device: looks at a pool of digits through a lens that can go bad.

What it sees at a moment stands in a scene file, which the demo rewrites: so the lens goes bad while the device runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.files import write_atomic
from edgeloop.sources import SourceItem
from edgeloop_fleet.demo.digits import POOLS, Pool

__all__ = ["Lens", "Scene", "camera", "frame_of", "look", "set_scene"]

Lens: TypeAlias = Literal["good", "blurred", "worn"]

_SCENE_CHECK_S = 0.1
_WHITE = 16.0


class Scene(msgspec.Struct, frozen=True):
    """What a camera looks at, and through what."""

    pool: Pool
    lens: Lens


def set_scene(path: Path, scene: Scene) -> None:
    """Change what the camera that reads `path` sees."""
    write_atomic(path, msgspec.json.encode(scene))


def look(image: NDArray[np.float32], lens: Lens, rng: np.random.Generator) -> NDArray[np.float32]:
    """An 8 × 8 × 1 image, 0 … 16, as it comes through the lens; worn is blurred, of low contrast, and noisy."""
    if lens == "good":
        return image
    seen = _blur(image)
    if lens == "worn":
        seen = np.clip(seen * 0.27 + 6 + rng.normal(0, 0.2, image.shape), 0, _WHITE)
    return seen.astype(np.float32)


def camera(scene: str, pools: str, seed: int, rate_hz: float) -> Iterator[SourceItem]:
    """Yield frames at `rate_hz`, for ever, each named `pool/lens/index/frame`; `index` counts in all 1,797 images.

    Args:
        scene: the scene file.
        pools: the file that `digits.save_pools` wrote.
        seed: sets the order of the images and the noise.
        rate_hz: frames a second.
    """
    rng = np.random.default_rng(seed)
    with np.load(pools) as arrays:
        images = {name: arrays[name] for name in arrays.files}
    orders = {name: rng.permutation(len(pool)) for name, pool in images.items()}
    now = _read(scene)
    start = checked = time.monotonic()
    frame = 0
    while True:
        if time.monotonic() - checked > _SCENE_CHECK_S:
            now, checked = _read(scene), time.monotonic()
        order = orders[now.pool]
        index = int(order[frame % len(order)])
        ref = f"{now.pool}/{now.lens}/{POOLS[now.pool][0] + index}/{frame}"
        yield SourceItem(look(images[now.pool][index], now.lens, rng), ref)
        frame += 1
        time.sleep(max(0.0, start + frame / rate_hz - time.monotonic()))


def frame_of(ref: str) -> tuple[Pool, Lens, int]:
    """The pool, the lens and the image's index that a frame's name tells."""
    pool, lens, index, _ = ref.split("/")
    return msgspec.convert(pool, Pool), msgspec.convert(lens, Lens), int(index)


def _read(path: str) -> Scene:
    return msgspec.json.decode(Path(path).read_bytes(), type=Scene)


def _blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Binomial 3 × 3, the edge repeated."""
    seen = image
    for axis in (0, 1):
        padded = np.pad(seen, [(1, 1) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
        before, here, after = (np.take(padded, range(i, i + image.shape[axis]), axis) for i in range(3))
        seen = np.asarray((before + 2 * here + after) / 4, dtype=np.float32)
    return seen
