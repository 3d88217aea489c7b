"""Binding: which address, and who could reach it."""

from __future__ import annotations

import socket

import pytest

from anyclaude.config.settings import ServerSettings
from anyclaude.errors import ConfigError
from anyclaude.server.listen import Listener


def test_port_zero_is_a_free_port() -> None:
    one = Listener.bind(ServerSettings(port=0))
    two = Listener.bind(ServerSettings(port=0))
    try:
        assert one.port
        assert one.port != two.port
    finally:
        one.close()
        two.close()
        one.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "127.0.0.1"])
def test_loopback_needs_no_key(host: str) -> None:
    Listener.bind(ServerSettings(host=host, port=0)).close()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(host: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = Listener.bind(ServerSettings(host=host, port=0))
    except ConfigError as error:
        assert "no address of this machine" in str(error)
        pytest.skip("no IPv6 loopback here")
    assert listener.port
    listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match=r"set server\.api_key"):
        Listener.bind(ServerSettings(host=host, port=0))
    Listener.bind(ServerSettings(host=host, port=0, api_key="k")).close()
    Listener.bind(ServerSettings(host=host, port=0), keyed=True).close()


def test_a_busy_port_is_known_at_once() -> None:
    first = Listener.bind(ServerSettings(port=0))
    try:
        with pytest.raises(ConfigError, match=rf"port {first.port} of 127\.0\.0\.1 is in use"):
            Listener.bind(ServerSettings(port=first.port))
    finally:
        first.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ServerSettings(host="", port=0), "server.host: it is empty"),
        (ServerSettings(host="192.0.2.1", port=0, api_key="k"), "is no address of this machine"),
        (ServerSettings(host="a" * 70, port=0), "is not an address here"),
        (ServerSettings(port=70_000), "server.port: 70000 is not from 0 to 65535"),
        (ServerSettings(host="fd://x"), "is not an open socket"),
        (ServerSettings(host="fd://999"), "is not an open socket"),
    ],
)
def test_addresses_that_can_not_be_had(settings: ServerSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Listener.bind(settings)


def test_a_socket_can_be_handed_over() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        listener = Listener.bind(ServerSettings(host=f"fd://{given.fileno()}"))
        assert listener.port == given.getsockname()[1]
        given.detach()
        listener.close()


def test_a_socket_of_another_kind_is_refused() -> None:
    one, two = socket.socketpair()
    with one, two, pytest.raises(ConfigError, match="is not a TCP socket"):
        Listener.bind(ServerSettings(host=f"fd://{one.fileno()}"))
