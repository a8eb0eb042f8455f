"""Home Assistant's MQTT discovery: the retained messages that make sensors of a model's predictions.

The format is Home Assistant's (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).
"""

from __future__ import annotations

import json
import re

import numpy as np

from edgeloop.manifest import Manifest

__all__ = ["AVAILABLE", "UNAVAILABLE", "discovery_messages"]

AVAILABLE, UNAVAILABLE = b"online", b"offline"

_MOST_OUTPUTS = 16


def discovery_messages(
    manifest: Manifest, device: str, topic: str, output_shape: tuple[int, ...], prefix: str = "homeassistant"
) -> dict[str, bytes]:
    """The discovery messages of one model on one device, by topic.

    A classifier gives a sensor for the class and one for its confidence; another model one for each output, up to 16.

    Args:
        manifest: the model's.
        device: the device's name.
        topic: where its predictions are published, as JSON; below it stands `availability`.
        output_shape: of one prediction's output.
        prefix: Home Assistant's discovery prefix.
    """
    node = _identifier(f"edgeloop_{device}_{manifest.name}")
    messages: dict[str, bytes] = {}
    for name, extra in _sensors(manifest, output_shape).items():
        config = {
            "name": name,
            "unique_id": f"{node}_{_identifier(name)}",
            "state_topic": topic,
            "json_attributes_topic": topic,
            "availability_topic": f"{topic}/availability",
            "device": {
                "identifiers": [node],
                "name": f"{device} {manifest.name}",
                "manufacturer": "edgeloop",
                "model": manifest.name,
                "sw_version": str(manifest.version),
            },
            **extra,
        }
        messages[f"{prefix}/sensor/{node}/{_identifier(name)}/config"] = json.dumps(config).encode()
    return messages


def _sensors(manifest: Manifest, output_shape: tuple[int, ...]) -> dict[str, dict[str, object]]:
    if manifest.task == "classification":
        said = "label" if manifest.labels else "index"
        confidence = {"unit_of_measurement": "%", "state_class": "measurement"}
        return {
            "class": {"value_template": f"{{{{ value_json.{said} }}}}"},
            "confidence": {"value_template": "{{ (value_json.confidence * 100) | round(1) }}", **confidence},
        }
    places = list(np.ndindex(output_shape))[:_MOST_OUTPUTS]
    found: dict[str, dict[str, object]] = {}
    for place in places:
        path = "".join(f"[{i}]" for i in place)
        name = " ".join(["output", *map(str, place)]) if len(places) > 1 else "output"
        found[name] = {"value_template": f"{{{{ value_json.output{path} }}}}", "state_class": "measurement"}
    return found


def _identifier(text: str) -> str:
    """Home Assistant allows letters, digits, `_` and `-` in its topics."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
