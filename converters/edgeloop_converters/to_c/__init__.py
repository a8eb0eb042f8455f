"""Compiling a full-integer model to C for microcontrollers: no interpreter, no heap, one planned arena."""

from edgeloop_converters.to_c.compile import CSource, compile_to_c

__all__ = ["CSource", "compile_to_c"]
