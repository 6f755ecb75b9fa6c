"""What a registry that holds copies answers, where it is not what it seems."""

import http.client
from pathlib import Path

import pytest

from proxy.path import parse
from proxy.sources.message import Request
from proxy.sources.remote import Remote
from registry.digest import Digest
from registry.errors import NotFound
from registry.transport import NO_RETRIES, Transport, host_settings
from tests.rig.components import proxy
from tests.rig.faulty import Exchange, Relay, answer

BLOB = bytes(range(256)) * 4000
TAGS = Request(parse("/v2/registry.example/team/app/tags/list"))


@pytest.mark.parametrize("body", [b'{"name":"x","tags":[]}\n', b'{"name":"x", "tags": null}'])
def test_a_registry_that_lists_no_tags_does_not_know_the_repository(body: bytes) -> None:
    """Distribution answers so, with S3 behind it, for repositories that it does not have."""
    with Relay() as relay:
        relay.rule(answer(200, body, {"Content-Type": "application/json"}), times=None)
        transport = Transport(host_settings([relay.host]), retries=NO_RETRIES)
        with pytest.raises(NotFound, match="no tags"):
            Remote("registry", relay.host, transport).fetch(TAGS)
        assert b"".join(Remote("shield", relay.host, transport).fetch(TAGS).body) == body, "upstream's own word"


def test_tags_that_are_there_are_passed_on_as_they_are() -> None:
    body = b'{"name":"x","tags":["1","[]"]}'
    with Relay() as relay:
        relay.rule(answer(200, body, {"Content-Type": "application/json"}))
        transport = Transport(host_settings([relay.host]), retries=NO_RETRIES)
        assert b"".join(Remote("registry", relay.host, transport).fetch(TAGS).body) == body


def in_chunks(exchange: Exchange, *, whole: bool) -> None:
    """BLOB without a length; where it is not `whole`, it breaks off in the middle."""
    exchange.begin(200, {"Transfer-Encoding": "chunked"})
    for at in range(0, len(BLOB) if whole else len(BLOB) // 2, 100_000):
        piece = BLOB[at : at + 100_000]
        exchange.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    if whole:
        exchange.write(b"0\r\n\r\n")
    else:
        exchange.hang_up()


def test_a_blob_without_a_length_comes_whole_or_is_seen_to_break(tmp_path: Path) -> None:
    path = f"/v2/quay.io/a/blobs/{Digest.of(BLOB)}"
    with Relay() as relay:
        relay.rule(lambda exchange: in_chunks(exchange, whole=True), path=path)
        relay.rule(lambda exchange: in_chunks(exchange, whole=False), path=path)
        component = proxy(tmp_path, "--registry", relay.url).start()
        try:
            assert component.get(path).body == BLOB
            with pytest.raises(http.client.IncompleteRead):
                component.get(path)
        finally:
            component.stop()
