"""What the shield remembers of what went wrong a moment ago."""

import pytest

from proxy.shield.lately import Lately
from registry.digest import Digest
from registry.errors import Corrupt


def test_damage_is_told_for_a_moment_and_of_that_blob_only() -> None:
    now = [0.0]
    damage: Lately[Digest] = Lately(5, lambda: now[0])
    bad, good = Digest.of(b"bad"), Digest.of(b"good")
    damage.note(bad, Corrupt("not what its digest says"))
    damage.check(good)
    with pytest.raises(Corrupt, match="not what its digest says"):
        damage.check(bad)
    now[0] = 5.0
    damage.check(bad)
