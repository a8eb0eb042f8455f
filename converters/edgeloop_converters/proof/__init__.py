"""The proof that an artifact is good enough: metrics, slices, calibration, robustness, and the gate."""

from edgeloop_converters.proof.calibration import (
    Bin,
    TemperatureFit,
    apply_temperature,
    calibration_error,
    fit_temperature,
    reliability_bins,
)
from edgeloop_converters.proof.compare import Comparison, Measurement, compare, mcnemar_p, measure
from edgeloop_converters.proof.explain import Importance, occlusion_map, permutation_importance
from edgeloop_converters.proof.gate import Budget, Gate, Verdict, judge
from edgeloop_converters.proof.metrics import METRICS, Metric, Task, find_metric
from edgeloop_converters.proof.perturb import PERTURBATIONS, Perturbation
from edgeloop_converters.proof.robustness import Predict, RobustnessRow, measure_robustness
from edgeloop_converters.proof.scores import confusion_matrix, predicted_classes, recall_by_class
from edgeloop_converters.proof.slices import (
    Slice,
    SliceReport,
    SliceRow,
    compare_slices,
    slice_by_column,
    slice_by_quantile,
)
from edgeloop_converters.proof.units import Drop, format_bytes, format_us, parse_bytes, parse_drop, parse_us

__all__ = [
    "METRICS",
    "PERTURBATIONS",
    "Bin",
    "Budget",
    "Comparison",
    "Drop",
    "Gate",
    "Importance",
    "Measurement",
    "Metric",
    "Perturbation",
    "Predict",
    "RobustnessRow",
    "Slice",
    "SliceReport",
    "SliceRow",
    "Task",
    "TemperatureFit",
    "Verdict",
    "apply_temperature",
    "calibration_error",
    "compare",
    "compare_slices",
    "confusion_matrix",
    "find_metric",
    "fit_temperature",
    "format_bytes",
    "format_us",
    "judge",
    "mcnemar_p",
    "measure",
    "measure_robustness",
    "occlusion_map",
    "parse_bytes",
    "parse_drop",
    "parse_us",
    "permutation_importance",
    "predicted_classes",
    "recall_by_class",
    "reliability_bins",
    "slice_by_column",
    "slice_by_quantile",
]
