"""Trials: recipes tried in processes of their own, several at a time, each only once."""

from edgeloop_converters.trials.cache import TrialCache, cache_folder
from edgeloop_converters.trials.pool import run_trials
from edgeloop_converters.trials.trial import Bench, Trial, Trialled, model_sha256

__all__ = ["Bench", "Trial", "TrialCache", "Trialled", "cache_folder", "model_sha256", "run_trials"]
