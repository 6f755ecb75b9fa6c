"""What a registry that holds copies answers, where it is not what it seems."""

import pytest

from proxy.path import parse
from proxy.sources.message import Request
from proxy.sources.remote import Remote
from registry.errors import NotFound
from registry.transport import NO_RETRIES, Transport, host_settings
from tests.rig.faulty import Relay, answer

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
