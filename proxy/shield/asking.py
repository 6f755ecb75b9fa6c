"""How the shield asks registries, put together from settings that may change at any time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.settings import TIMEOUTS
from proxy.shield.limits import Limits
from proxy.shield.naming import Pinned, nothing_pinned
from proxy.shield.origin import Rules
from proxy.shield.settings import Settings
from proxy.shield.upstreams import MirrorKeyring, Mirrors, no_mirror_credentials
from registry.connections import Addresses
from registry.hosts import HostSettings, host_settings
from registry.pauses import Pauses
from registry.transport import Retries, Timeouts, Transport
from registry.watching import Watcher


@dataclass(frozen=True)
class Asking:
    """`settings` is looked up for each request; `base` has the hosts that its registries do not speak of."""

    settings: Callable[[], Settings] = Settings
    base: Callable[[str], HostSettings] = host_settings()  # noqa: RUF009  a pure value
    pinned: Pinned = nothing_pinned
    user_agent: str = "kuik"
    pauses: Pauses = field(default_factory=Pauses)
    watcher: Watcher | None = None
    addresses: Addresses | None = None

    def transport(self, timeouts: Timeouts = TIMEOUTS, retries: Retries = Retries(attempts=2)) -> Transport:  # noqa: B008
        """Connections to the registries themselves, or by other time-outs to mirrors."""
        return Transport(
            self._host,
            timeouts=timeouts,
            retries=retries,
            user_agent=self.user_agent,
            pauses=self.pauses,
            watcher=self.watcher,
            addresses=self.addresses,
        )

    def mirrors(self, keyring: MirrorKeyring = no_mirror_credentials) -> Mirrors:
        """Registries' mirrors; `keyring` finds the credentials that they are given."""
        return Mirrors(lambda host: self.settings().registries.of(host).mirrors, self.transport, keyring)

    def rules(self) -> Rules:
        """The rules for a Shield, whose public half asks mirrors anonymously, as it asks everybody."""
        return Rules(lambda: self.settings().freshness, self._limits, self.mirrors(), self.pinned)

    def _host(self, host: str) -> HostSettings:
        return self.settings().registries.hosts(self.base)(host)

    def _limits(self, host: str) -> Limits:
        found = self.settings().registries.of(host)
        return Limits(found.transfers, found.requests)
