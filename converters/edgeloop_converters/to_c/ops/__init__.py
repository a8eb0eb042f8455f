"""The kinds of operators that are compiled, by the schema's names."""

from edgeloop_converters.to_c.ops.base import Code, Kind, Place
from edgeloop_converters.to_c.ops.conv import CONV_2D, DEPTHWISE_CONV_2D
from edgeloop_converters.to_c.ops.elementwise import ADD, MUL
from edgeloop_converters.to_c.ops.fully_connected import FULLY_CONNECTED
from edgeloop_converters.to_c.ops.mean import MEAN
from edgeloop_converters.to_c.ops.move import CONCATENATION, PAD, RESHAPE
from edgeloop_converters.to_c.ops.pool import AVERAGE_POOL_2D, MAX_POOL_2D
from edgeloop_converters.to_c.ops.requantize import DEQUANTIZE, QUANTIZE, RELU, RELU6
from edgeloop_converters.to_c.ops.softmax import SOFTMAX

__all__ = ["KINDS", "Code", "Kind", "Place"]

KINDS = {
    "ADD": ADD,
    "AVERAGE_POOL_2D": AVERAGE_POOL_2D,
    "CONCATENATION": CONCATENATION,
    "CONV_2D": CONV_2D,
    "DEPTHWISE_CONV_2D": DEPTHWISE_CONV_2D,
    "DEQUANTIZE": DEQUANTIZE,
    "FULLY_CONNECTED": FULLY_CONNECTED,
    "MAX_POOL_2D": MAX_POOL_2D,
    "MEAN": MEAN,
    "MUL": MUL,
    "PAD": PAD,
    "QUANTIZE": QUANTIZE,
    "RELU": RELU,
    "RELU6": RELU6,
    "RESHAPE": RESHAPE,
    "SOFTMAX": SOFTMAX,
}
