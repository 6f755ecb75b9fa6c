"""Scenarios with the real Metacontroller, which calls the hooks over HTTP and writes on a real API server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from kube.types import Object
from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.processes import wait_until
from tests.scenarios.cluster import OURS
from tests.scenarios.hooks import Clock, Hooks, Parent
from tests.scenarios.looped import SOON
from tests.scenarios.remote import OnApiServer

STAGES = {
    "inventory": "Namespace",
    "imagecache": "ImageCache",
    "cachedimage": "CachedImage",
    "prefetch": "ImagePrefetch",
}
WRITTEN = (
    "imagecaches",
    "imageinventories",
    "imageprefetches",
    "pods",
    "cachedimages",
    "jobs",
    "mutatingwebhookconfigurations",
    "roles",
    "rolebindings",
)
_RESYNC = 1  # second: Metacontroller's least. Each parent is synced anew so often, whatever time its hooks believe in.
_REST = 90.0  # seconds in which a scenario has to come to rest


class Real(OnApiServer):
    """Metacontroller as the project's own controllers have it, but for the hooks' URL and a resync of a second."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.clock = Clock(lambda: datetime.now(UTC))
        self.hooks = Hooks(self.clock, self.plane_has)
        self.url, self._end = self.hooks.serve()
        metacontroller.install_crds(plane)
        metacontroller.start(plane)
        self.call(self.url)
        self.begin()

    def begin(self) -> None:
        """As if nothing had been before: for a scenario of its own on the same API server."""
        self.namespaces, self.beating = set(), set()
        self.hooks.begin()

    def call(self, url: str) -> None:
        """Have the stages called at that URL from now on."""
        self.plane.kubectl("apply", "-f", "-", stdin=metacontroller.controllers(url, _RESYNC))

    def stop(self) -> None:
        """End the hooks."""
        self._end()

    def every(self, kind: str) -> list[Object]:
        return self.plane_has(kind)

    def advance(self, seconds: float) -> None:
        self.clock.ahead += timedelta(seconds=seconds)  # the next resync of each parent sees it

    def settle(self) -> None:
        """Rest is a round in which every parent was synced and nothing was written, not even in vain."""
        until = time.monotonic() + _REST
        while time.monotonic() < until:
            before = self._state()
            self.round()
            if self._state() == before and not self._skip():
                return
        raise AssertionError(f"no rest in {_REST:.0f} s\n{self.plane.log('metacontroller')[-2000:]}")

    def attempt(self) -> None:
        self.round()

    def round(self) -> None:
        """Until every parent was synced: it is asked about twice, as the first sync is done when the second begins."""
        before = self.hooks.calls.copy()

        def late() -> list[Parent]:
            return [one for one in self._parents() if self.hooks.calls[one] < before[one] + 2]

        try:
            wait_until(lambda: not late(), "every parent is synced", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}: {late()}\n{self.plane.log('metacontroller')[-2000:]}") from None

    def _parents(self) -> Iterator[Parent]:
        for stage, kind in STAGES.items():
            for obj in self.plane_has(kind):
                if not obj["metadata"].get("deletionTimestamp"):
                    yield stage, obj["metadata"]["name"]

    def _state(self) -> tuple[int, dict[str, str]]:
        """Write requests so far, also in vain, and every object of ours or of the workloads as it is."""
        objects = {
            self.plane.api.path(obj): str(obj["metadata"]["resourceVersion"])
            for kind in (*OURS, "Pod", "Deployment", "CronJob")
            for obj in self.plane_has(kind)
        }
        return self.plane.api.writes(*WRITTEN), objects

    def _skip(self) -> bool:
        """Let the time pass until what is due soon; whether there is anything."""
        living, now = set(self._parents()), self.clock.now()
        due = min((at for parent, at in self.hooks.resyncs.items() if parent in living), default=None)
        if due is None or due > now + SOON:
            return False
        self.clock.ahead += max(timedelta(), due - now)
        return True

    @contextmanager
    def calling(self, url: str) -> Iterator[None]:
        """Meanwhile the stages are called elsewhere."""
        self.call(url)
        try:
            yield
        finally:
            self.call(self.url)
