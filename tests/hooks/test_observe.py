"""The edge: settings from the environment, and facts that fail closed."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from hooks.facts import Known, Unknown
from hooks.observe import InvalidSetting, Observer, settings_from
from hooks.shield import Shield
from registry.reference import Reference

NGINX = Reference.parse("nginx")


def answering(reply: bytes, delay: float = 0.0) -> Iterator[str]:
    """A server that sends the same bytes to whoever connects."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.recv(65536)
                time.sleep(delay)
                peer.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"access": "public"}', "public"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"access": "private"}', "private"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"access": "unknown"}', None),
        (b'HTTP/1.0 200 OK\r\n\r\n{"access": ["public"]}', None),
        (b"HTTP/1.0 200 OK\r\n\r\npublic", None),
        (b'HTTP/1.0 500 Broken\r\n\r\n{"access": "public"}', None),
        (b'HTTP/1.0 302 Found\r\nLocation: /elsewhere\r\n\r\n{"access": "public"}', None),
        (b"nonsense", None),
        (b"", None),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 5000 + b'{"access": "public"}', None),
    ],
)
def test_anything_but_a_good_answer_is_unknown(reply: bytes, known: str | None) -> None:
    for url in answering(reply):
        fact = Shield(url).access(NGINX)
        assert fact == Known(known) if known else isinstance(fact, Unknown)


def test_a_slow_or_dead_shield_costs_its_timeout_and_no_more() -> None:
    for url in answering(b'HTTP/1.0 200 OK\r\n\r\n{"access": "public"}', delay=3):
        access = Observer(settings_from({}), Shield(url, timeout=0.1)).context([NGINX]).access
        assert isinstance(access(NGINX), Unknown)
    assert isinstance(Shield("http://127.0.0.1:1").access(NGINX), Unknown)


def test_without_a_shield_nothing_is_known() -> None:
    assert isinstance(Observer.from_environment({}).context([NGINX]).access(NGINX), Unknown)


def test_settings_come_from_the_environment() -> None:
    settings = settings_from({"KUIK_TARGET_URLS": "http://a:1, http://b:1", "KUIK_PLAIN_HTTP": "reg:5000"})
    assert settings.job.targets == ("http://a:1", "http://b:1")
    assert settings.plain_http == {"reg:5000"}


@pytest.mark.parametrize(
    "environment", [{"KUIK_COPY_DEADLINE": "soon"}, {"KUIK_COPY_DEADLINE": "0"}, {"KUIK_SHIELD_URL": "shield:1"}]
)
def test_a_bad_setting_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(environment))):
        Observer.from_environment(environment)


def test_a_token_is_not_shown() -> None:
    assert "s3cret" not in repr(Shield("http://shield:1", "s3cret"))
