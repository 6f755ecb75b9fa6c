"""What the shield follows in its cluster: the ImageCache's settings, and which tags are pinned."""

import logging
import time
from collections.abc import Callable, Mapping

from kube.client import Api
from kube.paths import KINDS
from kube.watch import Watch
from proxy.shield.pins import pinned, what_pins
from proxy.shield.settings import Settings, read_settings
from registry.digest import Digest
from registry.reference import Reference
from registry.settings import InvalidSettings

NAME = "default"
FIRST_LOOK = 3.0
"""Seconds to wait for the API server at the start: callers wait too. Without it the defaults count until it answers."""
PINS_EVERY = 0.5
"""Seconds between two looks at all CachedImages, which change often while many are copied."""
_log = logging.getLogger("kuik.settings")


class Following:
    """The newest word of the cluster, in threads of its own; threads share it.

    What cannot be read changes nothing, and while the API server is away what was last heard goes on to count.
    `told` is called with every change of the settings.
    """

    def __init__(self, api: Api, told: Callable[[Settings], None] = lambda _settings: None) -> None:
        self._caches = Watch(api, KINDS["ImageCache"])
        self._images = Watch(api, KINDS["CachedImage"], keep=what_pins)
        self._told = told
        self._settings = (-1, Settings())
        self._pinned_at = float("-inf")
        self._pins: tuple[int, Mapping[Reference, Digest]] = (-1, {})

    def start(self) -> "Following":
        """Begin, and wait a while for the first word."""
        for watch in (self._caches, self._images):
            watch.start()
        if not (self._caches.wait(FIRST_LOOK) and self._images.wait(FIRST_LOOK)):
            _log.warning("the API server did not tell the ImageCache yet: until it does, the defaults count")
        return self

    def stop(self) -> None:
        """End."""
        for watch in (self._caches, self._images):
            watch.stop()

    @property
    def synced(self) -> bool:
        """Whether all of it was read once."""
        return self._caches.synced and self._images.synced

    def settings(self) -> Settings:
        """The settings as they are now."""
        changes, before = self._caches.changes, self._settings[1]
        if changes != self._settings[0]:
            after = self._read(before)
            self._settings = (changes, after)
            if after != before:
                self._told(after)
        return self._settings[1]

    def pinned(self, reference: Reference) -> Digest | None:
        """The digest that a tag is pinned to."""
        changes, now = self._images.changes, time.monotonic()
        if changes != self._pins[0] and now - self._pinned_at > PINS_EVERY:
            self._pins, self._pinned_at = (changes, pinned(self._images.objects())), now
        return self._pins[1].get(reference)

    def _read(self, before: Settings) -> Settings:
        cache = self._caches.get(NAME)
        if cache is None:
            return Settings()
        try:
            return read_settings(cache)
        except InvalidSettings as error:
            _log.error("ImageCache %s: %s; what was set before goes on to count", NAME, error)
            return before
