"""Places where an artifact can be run to prove it: a device over ssh or MQTT, or an emulated userland."""

from edgeloop_converters.places.emulated import EmulatedPlace, roots_folder
from edgeloop_converters.places.mqtt import MqttPlace
from edgeloop_converters.places.place import Answered, Place, run_at
from edgeloop_converters.places.ssh import SshPlace
from edgeloop_converters.places.urls import open_place

__all__ = ["Answered", "EmulatedPlace", "MqttPlace", "Place", "SshPlace", "open_place", "roots_folder", "run_at"]
