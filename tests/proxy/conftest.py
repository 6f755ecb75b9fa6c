"""Proxy and shield in front of the upstream registry that every room's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.components import Component, proxy, shield
from tests.rig.upstream import Upstream


@pytest.fixture
def a_shield(tmp_path: Path, upstream: Upstream) -> Iterator[Component]:
    """A shield that revalidates each tag each time, so that tests need not wait."""
    component = shield(tmp_path / "shield", "--plain-http", upstream.host, "--freshness", "0").start()
    yield component
    component.stop()


@pytest.fixture
def a_proxy(tmp_path: Path, upstream: Upstream, a_shield: Component) -> Iterator[Component]:
    """A proxy in front of the shield and, as the last resort, of upstream."""
    component = proxy(tmp_path / "proxy", "--shield", a_shield.url, "--plain-http", upstream.host).start()
    yield component
    component.stop()
