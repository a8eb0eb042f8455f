"""Reading, mending, quantizing and judging `.tflite` files: bytes in, facts out."""

from edgeloop_converters.tflite.c_array import CArray, model_to_c
from edgeloop_converters.tflite.calibrate import Ranges
from edgeloop_converters.tflite.causes import Cause
from edgeloop_converters.tflite.check import Finding, check
from edgeloop_converters.tflite.compensate import compensate
from edgeloop_converters.tflite.delegation import Delegation, OutsideOp, delegation
from edgeloop_converters.tflite.doctor import Diagnosis, LayerDiagnosis, diagnose
from edgeloop_converters.tflite.equalize import equalize
from edgeloop_converters.tflite.facts import ModelFacts, OpFacts, SignatureFacts, TensorFacts, describe
from edgeloop_converters.tflite.flatbuffer import parse, serialize
from edgeloop_converters.tflite.interpreter import Inputs, Kernels
from edgeloop_converters.tflite.kernels import Agreement, agreement, run
from edgeloop_converters.tflite.layer_times import LayerTime, time_layers
from edgeloop_converters.tflite.ports import arrange, output_first, port_names
from edgeloop_converters.tflite.quantize import Quantized, quantize
from edgeloop_converters.tflite.repair import Repaired, repair
from edgeloop_converters.tflite.restore import restore_float
from edgeloop_converters.tflite.scheme import QuantizationWanted, Scheme
from edgeloop_converters.tflite.tidy import tidy

__all__ = [
    "Agreement",
    "CArray",
    "Cause",
    "Delegation",
    "Diagnosis",
    "Finding",
    "Inputs",
    "Kernels",
    "LayerDiagnosis",
    "LayerTime",
    "ModelFacts",
    "OpFacts",
    "OutsideOp",
    "QuantizationWanted",
    "Quantized",
    "Ranges",
    "Repaired",
    "Scheme",
    "SignatureFacts",
    "TensorFacts",
    "agreement",
    "arrange",
    "check",
    "compensate",
    "delegation",
    "describe",
    "diagnose",
    "equalize",
    "model_to_c",
    "output_first",
    "parse",
    "port_names",
    "quantize",
    "repair",
    "restore_float",
    "run",
    "serialize",
    "tidy",
    "time_layers",
]
