"""The pull secrets that the cluster's images are pulled with: which are in use, what is in them, and what is wrong.

The shield may read exactly these by their names, and neither list nor watch Secrets. So it looks at each again now and
then, and at once when a registry refuses what it knows.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, entries, metadata, part
from kube.watch import Watch
from registry.credentials import Credentials, DockerConfig, InvalidDockerConfig
from registry.reference import InvalidReference, Reference

LOOK_EVERY = 60.0
"""Seconds after which a secret is read again; longer where there are many of them."""
RENEW_AFTER = 5.0
"""Seconds for which a secret that a registry refuses is not read again."""
FORBIDDEN_FOR = 600.0
"""Seconds for which what was read is used on while the API server forbids to read it again."""
_READS_A_SECOND = 5
_TICK = 0.5
_READS_A_TICK = 20
_AWAY = 2.0
_log = logging.getLogger(__name__)

Secret = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of one secret. `config` is None where it was never read; `problem` is what people can act on."""

    config: DockerConfig | None = field(default=None, repr=False)
    version: str = ""
    problem: str = ""
    tried: float = float("-inf")
    good: float = float("-inf")
    due: float = float("-inf")

    @property
    def judged(self) -> bool:
        """Whether the API server has said something definite of it."""
        return self.config is not None or bool(self.problem)


class PullSecrets:
    """The secrets of `CachedImage.spec.pullSecrets`, in a thread of its own from `start` to `stop`; threads share it.

    What is no longer used is forgotten. While the API server is away, what was read before is used on. `clock` is
    monotonic, in seconds.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic, look_every: float = LOOK_EVERY) -> None:
        self._api = api
        self._clock = clock
        self._look_every = look_every
        self._images = Watch(api, KINDS["CachedImage"], keep=_needs)
        self._held: dict[Secret, Held] = {}
        self._by_repository: tuple[int, Mapping[str, tuple[Secret, ...]]] = (-1, {})
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="pull secrets")

    def start(self) -> "PullSecrets":
        """Begin; returns at once."""
        self._images.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; what was read is forgotten."""
        self._stopped.set()
        self._images.stop()
        self._held = {}

    @property
    def synced(self) -> bool:
        """Whether it is known which secrets are in use."""
        return self._images.synced

    def of(self, repository: str) -> tuple[Secret, ...]:
        """The secrets that the users of a repository (`host/name`) pull with, in their order."""
        changes = self._images.changes
        if changes != self._by_repository[0]:
            self._by_repository = (changes, _by_repository(self._images.objects()))
        return self._by_repository[1].get(repository, ())

    def held(self, secret: Secret) -> Held:
        """What is known of a secret."""
        return self._held.get(secret, Held())

    def keyring(self, reference: Reference) -> Sequence[Credentials]:
        """The credentials of all users of the repository, the most specific first."""
        return self.mirror_keyring(reference, reference)

    def mirror_keyring(self, image: Reference, place: Reference) -> Sequence[Credentials]:
        """The credentials that the users of an image have for where a mirror has it: those for the mirror's host."""
        configs = (self.held(secret).config for secret in self.of(image.name))
        joined = DockerConfig.joined(config for config in configs if config)
        return joined.match(place.host, place.repository)

    def problems(self, reference: Reference) -> list[str]:
        """Why secrets of the repository's users are of no use, in words that name them and nothing that is in them."""
        found = []
        for secret in self.of(reference.name):
            held = self.held(secret)
            problem = held.problem
            if not problem and held.config and not held.config.match(reference.host, reference.repository):
                problem = f"has no entry for {reference.name}"
            if problem:
                found.append(f"Secret {secret[0]}/{secret[1]} {problem}")
        return found

    def renew(self, reference: Reference) -> bool:
        """Read the secrets of the repository's users again, as a registry refused them; whether one has changed.

        What was read a moment ago is not read again.
        """
        now, changed = self._clock(), False
        for secret in self.of(reference.name):
            before = self.held(secret)
            if now - before.tried < RENEW_AFTER:
                continue
            changed |= self._read(secret) and self.held(secret).config != before.config
        return changed

    def look(self) -> None:
        """Forget what is not used any more, and read what is due."""
        if not self.synced:
            return
        self.of("")
        wanted = {secret for secrets in self._by_repository[1].values() for secret in secrets}
        with self._lock:
            self._held = {secret: held for secret, held in self._held.items() if secret in wanted}
        now = self._clock()
        due = [secret for secret in sorted(wanted) if self.held(secret).due <= now]
        for secret in due[:_READS_A_TICK]:
            if self._stopped.is_set() or not self._read(secret, len(wanted)):
                return

    def _run(self) -> None:
        while not self._stopped.wait(_TICK):
            self.look()

    def _read(self, secret: Secret, many: int = 1) -> bool:
        """Read one secret; False when the API server did not answer."""
        before, now = self.held(secret), self._clock()
        namespace, name = secret
        try:
            found = self._api.get(KINDS["Secret"].path(name, namespace))
        except KubernetesError as error:
            after = _failed(before, error, now)
        else:
            after = _read(before, found, now)
        every = max(self._look_every, many / _READS_A_SECOND)
        after = replace(after, tried=now, due=now + (_soon(after, every) if after.judged else _AWAY))
        with self._lock:
            self._held[secret] = after
        if after.problem != before.problem:
            _log.warning("Secret %s/%s %s", namespace, name, after.problem or "can be used again")
        return after.judged


def _soon(after: Held, every: float) -> float:
    """A Role may come a moment after the image; what is well is looked at now and then, not all at once."""
    return min(every, 10.0) if after.problem else every * random.uniform(0.8, 1.0)  # noqa: S311 - no secret is made


def _read(before: Held, found: Object, now: float) -> Held:
    version = str(metadata(found).get("resourceVersion", ""))
    if version and version == before.version and before.judged:
        return replace(before, good=now)
    try:
        return Held(DockerConfig.of_secret(found), version, good=now)
    except InvalidDockerConfig as error:
        return Held(None, version, f"cannot be used, as {error}", good=now)


def _failed(before: Held, error: KubernetesError, now: float) -> Held:
    if error.status == 404:
        return Held(problem="does not exist")
    if error.status in (401, 403):
        problem = f"cannot be read by kuik ({error.status}): its Role may not be there yet"
        # An API server that has just started forbids everything for a moment.
        kept = before.config if now - before.good < FORBIDDEN_FOR else None
        return Held(kept, "", problem, good=before.good)
    return before  # nothing definite


def _needs(image: Object) -> Object:
    """Of a CachedImage its repository and its secrets: 10,000 of them are kept."""
    spec = part(image, "spec")
    try:
        repository = Reference.parse(str(spec.get("image"))).name
    except InvalidReference:
        return {}
    found = ((entry.get("namespace"), entry.get("secret")) for entry in entries(spec, "pullSecrets"))
    return {"repository": repository, "secrets": [pair for pair in found if _is_path_safe(*pair)]}


def _is_path_safe(namespace: object, name: object) -> bool:
    """Whether both are names: they become part of a path."""
    texts = [text for text in (namespace, name) if isinstance(text, str)]
    return len(texts) == 2 and all(text and set(text) <= _NAME and text not in (".", "..") for text in texts)


_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


def _by_repository(images: Iterable[Object]) -> Mapping[str, tuple[Secret, ...]]:
    found: dict[str, set[Secret]] = {}
    for image in images:
        if image.get("secrets"):
            found.setdefault(image["repository"], set()).update(image["secrets"])
    return {repository: tuple(sorted(secrets)) for repository, secrets in found.items()}
