"""What goes wrong at the centre, beyond `edgeloop.errors`.

EdgeloopError
└── LakeError            the lake can't be read or written
    └── LostRaceError    another writer has committed for the same shard; nothing was written
"""

from __future__ import annotations

from edgeloop.errors import EdgeloopError

__all__ = ["LakeError", "LostRaceError"]


class LakeError(EdgeloopError):
    """The lake can't be read or written."""


class LostRaceError(LakeError):
    """Another writer has committed under the same application id; nothing was written, read the lake again."""
