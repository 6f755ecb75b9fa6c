"""Small answers that trickle are not waited for by those who have a limit."""

import pytest

from registry.response import TooSlow
from tests.rig import faulty
from tests.rig.faulty import Relay
from tests.rig.link import at_rate
from tests.rig.reader import transport


@pytest.fixture
def slow() -> "Relay":
    """Gives 400 bytes in about a second."""
    behind = Relay()
    behind.rule(faulty.answer(200, b"x" * 400), times=None)
    relay = Relay(behind.host)
    relay.rule(at_rate(500), times=None)
    return relay


def test_a_small_answer_that_trickles_is_left_where_there_is_a_limit(slow: Relay) -> None:
    with (
        transport().send("GET", slow.host, "/v2/a/manifests/1") as response,
        pytest.raises(TooSlow, match="is slow"),
    ):
        response.read(1000, within=0.2)
    with transport().send("GET", slow.host, "/v2/a/manifests/1") as response:
        assert response.read(1000) == b"x" * 400


def test_what_is_whole_is_taken_however_long_it_took(slow: Relay) -> None:
    slow.rules.clear()
    with transport().send("GET", slow.host, "/v2/a/manifests/1") as response:
        assert response.read(1000, within=0) == b"x" * 400
