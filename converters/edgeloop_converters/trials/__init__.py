"""Trials: recipes tried in processes of their own, several at a time, here or on a cluster, each only once."""

from edgeloop_converters.trials.cache import TrialCache, cache_folder
from edgeloop_converters.trials.executor import Executor, Here, Processes, executor_for
from edgeloop_converters.trials.on_ray import OnRay
from edgeloop_converters.trials.pool import run_trials
from edgeloop_converters.trials.trial import Bench, Trial, Trialled, model_sha256

__all__ = [
    "Bench",
    "Executor",
    "Here",
    "OnRay",
    "Processes",
    "Trial",
    "TrialCache",
    "Trialled",
    "cache_folder",
    "executor_for",
    "model_sha256",
    "run_trials",
]
