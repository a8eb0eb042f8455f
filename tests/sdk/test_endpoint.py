"""The endpoint for Prometheus: what it answers, and what a client can't do to it."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
from collections.abc import Iterator

import pytest

from edgeloop.endpoint import MetricsEndpoint
from edgeloop.errors import ConfigError


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    with MetricsEndpoint("127.0.0.1:0", lambda: "a_total 1\n") as running:
        yield running


def ask(endpoint: MetricsEndpoint, path: str = "/metrics", method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()


def test_metrics_are_served_as_the_text_format(endpoint: MetricsEndpoint) -> None:
    assert ask(endpoint) == (200, "text/plain; version=0.0.4; charset=utf-8", b"a_total 1\n")
    assert ask(endpoint, "/metrics?debug=1")[0] == 200


def test_nothing_else_is(endpoint: MetricsEndpoint) -> None:
    assert ask(endpoint, "/")[0] == 404
    assert ask(endpoint, "/../etc/passwd")[0] == 404
    assert ask(endpoint, method="POST")[0] == 501


def test_clients_that_say_nothing_hold_up_nobody_for_long(endpoint: MetricsEndpoint) -> None:
    with contextlib.ExitStack() as stack:
        mute = [stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port))) for _ in range(3)]
        assert ask(endpoint)[0] == 200
        # There is room for one more, and the place of the one that was answered may not be free yet.
        late = [stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port))) for _ in range(2)]
        turned_away, _, _ = select.select(late, [], [], 4)
        assert turned_away
        assert turned_away[0].recv(1) == b""
        mute[0].settimeout(30)
        assert mute[0].recv(1) == b"", "cut off after its 5 s"
    assert ask(endpoint)[0] == 200


def test_a_port_that_is_taken_and_a_host_that_is_nowhere(endpoint: MetricsEndpoint) -> None:
    for listen in (f"127.0.0.1:{endpoint.port}", "192.0.2.1:0", "no.such.host.invalid:1"):
        with pytest.raises(ConfigError, match=r"metrics\.listen"):
            MetricsEndpoint(listen, str)
