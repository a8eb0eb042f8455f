"""Models that no device could run rightly, refused by the names of their ops."""

from __future__ import annotations

from edgeloop.errors import ModelError
from edgeloop_converters.tflite import ModelFacts

__all__ = ["check_runnable"]


def check_runnable(facts: ModelFacts, source: str) -> None:
    """Refuse a model with custom ops, or with state that outlives a call.

    Args:
        facts: what `edgeloop_converters.tflite.describe` says of it.
        source: names it in the message.

    Raises:
        ModelError: it names the ops and says what to do.
    """
    if facts.custom_ops:
        flex = [name for name in facts.custom_ops if name.startswith("Flex")]
        what = "TensorFlow ops that LiteRT doesn't bring along" if flex else "custom ops"
        raise ModelError(
            f"{source}: it has {what} ({', '.join(facts.custom_ops)}): replace them by standard layers, or leave them "
            "out of the model and compute them before or after it"
        )
    if facts.stateful_ops or facts.variables:
        names = ", ".join((*facts.stateful_ops, *facts.variables[:3]))
        raise ModelError(
            f"{source}: it keeps state from call to call ({names}): make the state an input and an output of the "
            "model, or feed whole windows (a Keras RNN: stateful=False)"
        )
