"""Whether a host is asked through an egress proxy or directly: the rules of NO_PROXY, by value."""

import ipaddress
from collections.abc import Iterable


def bypassed(host: str, no_proxy: Iterable[str]) -> bool:
    """Whether `host` (`name` or `name:port`) is among what is asked directly.

    An entry is `*`, a name (its subdomains count too, with or without a dot before it), an address, a network such as
    `10.0.0.0/8`, or one of these with a port.
    """
    name, port = _split(host)
    return any(_covers(entry.strip().lower(), name, port) for entry in no_proxy)


def _covers(entry: str, name: str, port: str) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(entry, name)
    covered, wanted_port = _split(entry)
    covered = covered.removeprefix("*").removeprefix(".")
    return wanted_port in ("", port) and (name == covered or name.endswith(f".{covered}"))


def _in_network(entry: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = host.partition(":") if host.count(":") == 1 else (host, "", "")
    return name, port
