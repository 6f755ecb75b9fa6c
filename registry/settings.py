"""Registries' settings as people write them: `spec.registries` of an ImageCache, read into plain values.

The CRD's schema refuses what is wrong before it gets here; whoever has no API server to do so gets the same refusals.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.address import named
from registry.hosts import HostSettings
from registry.proxied import host_to_segment
from registry.reference import DOCKER_HUB, InvalidReference, Reference, check_repository, is_host

EVERY_OTHER = "*"
"""The host of the entry for registries that have none of their own."""
TRANSFERS = 32
REQUESTS = 32
MIRROR_SECONDS = 2
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_PROXY = re.compile(r"http://[A-Za-z0-9.\[\]:-]+/?")


class InvalidSettings(ValueError):
    """A setting cannot be used; the message begins with its field, such as `registries[0].ca`."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Another registry that has what `registry` has, below `prefix`; `seconds` is how long it may be silent."""

    registry: str
    host: str
    prefix: str = ""
    seconds: float = MIRROR_SECONDS

    def place(self, reference: Reference) -> Reference:
        """Where the mirror has an image of its registry."""
        repository = f"{self.prefix}/{reference.repository}" if self.prefix else reference.repository
        return replace(reference, host=self.host, repository=repository)

    def original(self, place: Reference) -> Reference:
        """The image of the registry that the mirror has there."""
        repository = place.repository.removeprefix(f"{self.prefix}/") if self.prefix else place.repository
        return replace(place, host=self.registry, repository=repository)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How one registry is asked. `transfers` and `requests` are how many of each there may be at once."""

    host: HostSettings = HostSettings()  # noqa: RUF009  a frozen value
    mirrors: tuple[Mirror, ...] = ()
    transfers: int = TRANSFERS
    requests: int = REQUESTS


@dataclass(frozen=True, slots=True)
class Registries:
    """The settings of all registries, by host as images name it."""

    entries: Mapping[str, RegistrySettings] = field(default_factory=dict)

    def of(self, host: str) -> RegistrySettings:
        """The settings of one registry: its own, those for every other, or the defaults."""
        return self.entries.get(host) or self.entries.get(EVERY_OTHER) or _DEFAULT

    def hosts(self, otherwise: Callable[[str], HostSettings]) -> Callable[[str], HostSettings]:
        """Settings for a transport, where `otherwise` has those of hosts that have no entry of their own."""

        def settings(host: str) -> HostSettings:
            if host in self.entries:
                return self.entries[host].host
            base, others = otherwise(host), self.of(host).host
            return replace(base, ca=base.ca or others.ca, egress=base.egress or others.egress, direct=others.direct)

        return settings


_DEFAULT = RegistrySettings()


def read_registries(written: Sequence[Any]) -> Registries:
    """Read `spec.registries`; raises InvalidSettings."""
    found: dict[str, RegistrySettings] = {}
    for number, entry in enumerate(written):
        where = f"registries[{number}]"
        if not isinstance(entry, Mapping):
            raise InvalidSettings(f"{where}: is not an object")
        host = _host(entry, where)
        if host in found:
            raise InvalidSettings(f"{where}.host: {host} has an entry already")
        found[host] = _settings(host, entry, where)
    return Registries(found)


def _settings(host: str, entry: Mapping[str, Any], where: str) -> RegistrySettings:
    limits = entry.get("limits") or {}
    plain, ca = bool(entry.get("plainHTTP")), str(entry.get("ca") or "")
    if plain and ca:
        raise InvalidSettings(f"{where}.ca: a registry without TLS has no certificate: leave out ca or plainHTTP")
    if plain and host == EVERY_OTHER:
        raise InvalidSettings(f"{where}.plainHTTP: name the registry: not every other can be without TLS")
    if ca and "PRIVATE KEY" in ca:
        raise InvalidSettings(f"{where}.ca: holds a private key: give certificates only")
    if ca and not _PEM.search(ca):
        raise InvalidSettings(f"{where}.ca: is not a certificate in PEM: it begins with -----BEGIN CERTIFICATE-----")
    proxy, direct = _egress(entry.get("egressProxy") or {}, where)
    return RegistrySettings(
        HostSettings(plain, ca=ca, egress=proxy, direct=direct),
        tuple(_mirrors(host, entry.get("mirrors") or (), where)),
        int(limits.get("transfers", TRANSFERS)),
        int(limits.get("requests", REQUESTS)),
    )


def _host(entry: Mapping[str, Any], where: str) -> str:
    host = entry.get("host")
    if host == EVERY_OTHER:
        return EVERY_OTHER
    if not isinstance(host, str) or not is_host(host) or host != host.lower() or host.startswith("["):
        raise InvalidSettings(f"{where}.host: {host!r} is not a registry's host, such as ghcr.io or reg.example:5000")
    if host == "index.docker.io" or named(host) != host:
        raise InvalidSettings(f"{where}.host: write {DOCKER_HUB} for Docker Hub, as images name it")
    host_to_segment(host)
    return host


def _mirrors(registry: str, written: Iterable[Any], where: str) -> Iterable[Mirror]:
    for number, mirror in enumerate(written):
        here = f"{where}.mirrors[{number}]"
        if registry == EVERY_OTHER:
            raise InvalidSettings(f"{here}: name the registry whose mirror it is: the host * has none")
        if not isinstance(mirror, Mapping):
            raise InvalidSettings(f"{here}: is not an object")
        host, prefix = _host(mirror, here), str(mirror.get("prefix") or "")
        if host in (registry, EVERY_OTHER):
            raise InvalidSettings(f"{here}.host: name another host than the registry's own")
        if prefix:
            try:
                check_repository(prefix)
            except InvalidReference as error:
                raise InvalidSettings(f"{here}.prefix: {error}") from error
        yield Mirror(registry, host, prefix, float(mirror.get("timeoutSeconds", MIRROR_SECONDS)))


def _egress(written: Mapping[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    url = str(written.get("url") or "")
    if url and not _PROXY.fullmatch(url):
        raise InvalidSettings(f"{where}.egressProxy.url: write it as http://host:port, without user or password")
    return url.rstrip("/"), tuple(str(entry) for entry in written.get("noProxy") or ())
