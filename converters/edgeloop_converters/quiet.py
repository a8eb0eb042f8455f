"""TensorFlow without its chatter: it writes to standard error from C++ before Python can say no."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator

__all__ = ["quiet_tensorflow", "silenced"]


def quiet_tensorflow() -> None:
    """Ask TensorFlow to log errors only, and import it; before any other import of it in the process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with silenced():
        import tensorflow as tf

        tf.config.list_physical_devices()  # where it would complain of the GPU that isn't there
    tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Send what the process, C++ included, writes to standard output and error to nowhere, while this lasts.

    An exception still carries its message. Not for use beside other threads that write.
    """
    with contextlib.ExitStack() as stack:
        null = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, null)
        for target in (1, 2):
            saved = os.dup(target)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, target)
            os.dup2(null, target)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # what is buffered would come out later
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
