"""edgeloop on the device: artifacts, the runtime, the profile, and the uplink to the centre.

from edgeloop import Runtime

with Runtime("model.tflite") as runtime:
    print(runtime.run(x).label)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeloop.agent import Agent
    from edgeloop.artifact import Artifact, pack_artifact, read_artifact, write_artifact
    from edgeloop.baseline import Baseline, fit_baseline
    from edgeloop.manifest import Manifest
    from edgeloop.outbox import Outbox
    from edgeloop.pool import RuntimePool
    from edgeloop.profile import Profile, Profiler
    from edgeloop.runtime import Prediction, Runtime
    from edgeloop.sources import SourceItem

__all__ = [
    "Agent",
    "Artifact",
    "Baseline",
    "Manifest",
    "Outbox",
    "Prediction",
    "Profile",
    "Profiler",
    "Runtime",
    "RuntimePool",
    "SourceItem",
    "fit_baseline",
    "pack_artifact",
    "read_artifact",
    "write_artifact",
]

# Imported when first asked for: `edgeloop --help` and `import edgeloop` cost next to nothing.
_HOMES = {
    "Agent": "agent",
    "SourceItem": "sources",
    "Artifact": "artifact",
    "pack_artifact": "artifact",
    "read_artifact": "artifact",
    "write_artifact": "artifact",
    "Baseline": "baseline",
    "fit_baseline": "baseline",
    "Manifest": "manifest",
    "Outbox": "outbox",
    "Profile": "profile",
    "Profiler": "profile",
    "Prediction": "runtime",
    "Runtime": "runtime",
    "RuntimePool": "pool",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
