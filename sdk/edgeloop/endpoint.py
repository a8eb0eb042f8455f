"""Statistics over HTTP, for Prometheus to fetch. It never holds up the agent, whatever a client does."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeloop.config import parse_listen
from edgeloop.errors import ConfigError
from edgeloop.prometheus import CONTENT_TYPE

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MetricsEndpoint"]

log = logging.getLogger(__name__)

_AT_ONCE = 4
_TIMEOUT_S = 5.0


class MetricsEndpoint:
    """Serves `GET /metrics`, on threads of its own.

    At most 4 clients at once (another one is turned away), and 5 s for each, however slowly it sends or reads.

    Args:
        listen: HOST:PORT; port 0 takes a free one, see `port`.
        metrics: gives the text, from any thread.

    Raises:
        ConfigError: there is nothing to listen on, or somebody else does.
    """

    def __init__(self, listen: str, metrics: Callable[[], str]) -> None:
        host, port = parse_listen(listen)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._server = _Server((host, port), family, metrics)
        except OSError as error:
            raise ConfigError(f"metrics.listen {listen!r}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="edgeloop metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, metrics: Callable[[], str]) -> None:
        self.address_family = family
        self.metrics = metrics
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without `HTTPServer`'s look for the host's name, which asks the network and may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "edgeloop", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(_TIMEOUT_S, _cut, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's
        log.debug("metrics: %s went away", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "edgeloop"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:  # the base class looks for this name
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is here")
            return
        body = self.server.metrics().encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        log.debug("metrics: " + format, *args)  # noqa: G003  # the base class gives a format


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
