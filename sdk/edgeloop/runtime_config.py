"""How a model is run, as a configuration says it: `[runtime]` of the agent's, and the options of `edgeloop run`.

A backend is one of ours, or one of another package: a kind that an entry point of the group `edgeloop.backends` names,
`kind = module:Struct`. Such a struct has options as fields and `open(model: bytes)`, which gives a
`edgeloop.backends.Backend` for that model. What it gives may also have `close`. Where what it talks to is away, its
calls raise an `EdgeloopError` or an `OSError`, and work again once that is back: the agent counts, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, cast

import msgspec

from edgeloop import plugins
from edgeloop.artifact import Artifact
from edgeloop.backends import BACKENDS, Backend, BackendName, Kernels
from edgeloop.errors import ConfigError
from edgeloop.runtime import Runtime

__all__ = ["RuntimeConfig", "runtime_config_from_text"]

_GROUP = "edgeloop.backends"


class _BackendOptions(Protocol):
    def open(self, model: bytes) -> Backend: ...


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is run; see `edgeloop.runtime.Runtime`.

    Args:
        backend: the interpreter, or a kind that another package brings; None takes the first interpreter installed.
        threads: the interpreter's threads; "auto" measures at a model's first start, and remembers.
        kernels: "reference" for the kernels that give the same bits on every processor.
        delegate: "edgetpu", "gpu", or a delegate's shared library by its path.
        options: the fields of another package's backend, which takes none of the three above.
        is_text: whether the options are text of a command line, numbers among them.
    """

    backend: str | None = None
    threads: Annotated[int, msgspec.Meta(ge=1)] | Literal["auto"] = 1
    kernels: Kernels = "default"
    delegate: str | None = None
    options: dict[str, Any] = {}
    is_text: bool = False

    @property
    def is_plugin(self) -> bool:
        """Whether the backend is another package's."""
        return self.backend is not None and self.backend not in BACKENDS

    def check(self) -> None:
        """Raise `ConfigError` where no package brings the backend, or options are given to one that takes none."""
        if not self.is_plugin:
            if self.options:
                raise ConfigError(f"runtime.options: {self.backend or 'the interpreter'} takes none")
            return
        if self.backend not in plugins.kinds(_GROUP):
            raise ConfigError(
                f"runtime.backend {self.backend!r}: use one of {', '.join(BACKENDS)}, or install the package that "
                "brings it"
            )
        if (self.threads, self.kernels, self.delegate) != (1, "default", None):
            raise ConfigError(f"runtime: threads, kernels and delegate are an interpreter's: {self.backend} has none")
        self._load()

    def open(self, artifact: Artifact, *, choices: Path | None = None) -> Runtime:
        """A runtime for an artifact; another package's backend is closed with it.

        Args:
            artifact: whose signature was checked.
            choices: the file in which numbers of threads are remembered; None is the user's (`threads.threads_file`).

        Raises:
            ConfigError: as `check` does.
            OSError, EdgeloopError: as `Runtime` does, or what another package's backend raises.
        """
        if self.is_plugin:
            return _opened(artifact, self._load().open)
        backend = cast("BackendName | None", self.backend)
        threads = self.threads
        if threads == "auto":
            from edgeloop.threads import remembered_threads  # who doesn't measure needs no statistics

            threads = remembered_threads(artifact, backend, kernels=self.kernels, delegate=self.delegate, path=choices)
        return Runtime(artifact, backend=backend, threads=threads, kernels=self.kernels, delegate=self.delegate)

    def open_shadow(self, artifact: Artifact) -> Runtime:
        """A runtime for a second model: on the processor, and on one thread, since its share is of one processor.

        Raises:
            OSError, EdgeloopError: as `Runtime` does.
        """
        if self.is_plugin:
            return Runtime(artifact)
        return Runtime(artifact, backend=cast("BackendName | None", self.backend), kernels=self.kernels)

    def _load(self) -> _BackendOptions:
        loaded = plugins.load(_GROUP, "backend", self.backend or "", self.options, is_text=self.is_text)
        return cast(_BackendOptions, loaded)


def runtime_config_from_text(text: str | None, **fields: Any) -> RuntimeConfig:
    """With the backend as a command line gives it: a name, or `KIND:VALUE?option=value&…` of another package's.

    Args:
        text: that; None takes the first interpreter that is installed.
        fields: the other fields of `RuntimeConfig`.

    Raises:
        ConfigError: as `RuntimeConfig.check` does.
    """
    backend = text
    options: dict[str, Any] = {}
    if text is not None and ":" in text:
        backend, options = plugins.options_from_text(_GROUP, "backend", text)
    config = RuntimeConfig(backend, options=options, is_text=True, **fields)
    config.check()
    return config


class _OwningRuntime(Runtime):
    """A runtime that closes its backend."""

    def __init__(self, artifact: Artifact, backend: Backend) -> None:
        self._close_backend: Callable[[], object] = getattr(backend, "close", lambda: None)
        super().__init__(artifact, backend=backend)

    def close(self) -> None:
        super().close()
        self._close_backend()


def _opened(artifact: Artifact, open_backend: Callable[[bytes], Backend]) -> Runtime:
    backend = open_backend(artifact.model)
    try:
        return _OwningRuntime(artifact, backend)
    except BaseException:
        getattr(backend, "close", lambda: None)()
        raise
