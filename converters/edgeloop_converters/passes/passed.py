"""What every compression pass gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import keras

__all__ = ["Passed"]

Report_co = TypeVar("Report_co", covariant=True)


@dataclass(frozen=True)
class Passed(Generic[Report_co]):
    """The result of a pass: passes compose as `second(first(model).model)`.

    Args:
        model: a new, uncompiled Keras model with the input and output names and shapes of the one passed in.
        report: what the pass did, as a frozen dataclass of plain numbers and strings.
    """

    model: keras.Model
    report: Report_co
