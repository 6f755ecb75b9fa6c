"""What an upstream registry was asked from some moment on."""

from tests.rig.upstream import Upstream


class Asked:
    """Requests about one repository since this was made, in the order of their answers."""

    def __init__(self, upstream: Upstream, repository: str) -> None:
        self._upstream = upstream
        self._part = f"/v2/{repository}/"
        self._before = len(upstream.requests())

    def all(self) -> list[str]:
        """Each as `METHOD path`."""
        asked = self._upstream.requests()[self._before :]
        return [f"{method} {path}" for method, path, _ in asked if self._part in path]

    def blobs(self) -> dict[str, int]:
        """How often each blob was given, by its digest."""
        found: dict[str, int] = {}
        for method, path, status in self._upstream.requests()[self._before :]:
            if method == "GET" and f"{self._part}blobs/" in path and status < 400:
                digest = path.rpartition("/")[2]
                found[digest] = found.get(digest, 0) + 1
        return found
