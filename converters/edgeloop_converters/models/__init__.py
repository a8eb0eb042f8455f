"""Models in: what the user trained, read from whatever file it was saved to."""

from edgeloop_converters.models.convert import explain_refusal, tflite_converter
from edgeloop_converters.models.keras_file import load_keras
from edgeloop_converters.models.load import load_model
from edgeloop_converters.models.loaded import Kind, LoadedModel, Port
from edgeloop_converters.models.supported import check_runnable

__all__ = [
    "Kind",
    "LoadedModel",
    "Port",
    "check_runnable",
    "explain_refusal",
    "load_keras",
    "load_model",
    "tflite_converter",
]
