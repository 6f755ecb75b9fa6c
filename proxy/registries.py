"""Registry hosts as the values of a label: bounded, though clients may name any host."""

import threading

OTHER = "other"
WELL_KNOWN = (
    "docker.io",
    "ghcr.io",
    "quay.io",
    "registry.k8s.io",
    "gcr.io",
    "public.ecr.aws",
    "mcr.microsoft.com",
    "registry.gitlab.com",
)
MOST = 50
"""Registries with a name of their own; for larger ones a dashboard is no help."""
_LONGEST = 100


class KnownRegistries:
    """Names a host once it was of use: one that gave nothing is `other`. Threads share it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known = set(WELL_KNOWN)
        self._lock = threading.Lock()

    def of_use(self, host: str) -> None:
        """The host gave what it was asked for."""
        if host in self._known or len(host) > _LONGEST:
            return
        with self._lock:
            if len(self._known) < self._most + len(WELL_KNOWN):
                self._known.add(host)

    def label(self, host: str) -> str:
        """The host, or `other`."""
        return host if host in self._known else OTHER
