"""The data a conversion leans on: loading it, picking calibration samples from it, and checking its sets."""

from edgeloop_converters.data.calibration import CalibrationSet, check_stability, pick_calibration
from edgeloop_converters.data.checks import check_datasets
from edgeloop_converters.data.dataset import Dataset, Inputs, Skipped, input_arrays, take_rows
from edgeloop_converters.data.finding import Finding
from edgeloop_converters.data.images import ImageMode
from edgeloop_converters.data.load import load_dataset

__all__ = [
    "CalibrationSet",
    "Dataset",
    "Finding",
    "ImageMode",
    "Inputs",
    "Skipped",
    "check_datasets",
    "check_stability",
    "input_arrays",
    "load_dataset",
    "pick_calibration",
    "take_rows",
]
