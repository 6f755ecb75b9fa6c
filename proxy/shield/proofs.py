"""Who may pull from a private repository: each pull secret of its users is proven by a HEAD with it, and from time to
time again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from proxy.shield.access import Access, AccessFacts
from proxy.shield.limits import Turns
from proxy.shield.pull_secrets import Held, Secret
from registry.client import Client
from registry.credentials import Credentials
from registry.errors import NotFound, RegistryError, Unauthorized, Unsupported
from registry.reference import Reference
from registry.transport import Transport

PROVEN_FOR = 86_400.0
"""Seconds after which a proof is made again. Until that is done, and while nobody answers, it holds."""
REFUSED_FOR = 600.0
"""Seconds after which a secret that opened nothing is tried again; at once when its content changes."""
_MOST = 10_000


class Secrets(Protocol):
    """The pull secrets of repositories' users; see PullSecrets."""

    @property
    def synced(self) -> bool: ...

    def of(self, repository: str) -> Sequence[Secret]: ...

    def held(self, secret: Secret) -> Held: ...

    def problems(self, reference: Reference) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a registry said to one secret, when, and to which content of it."""

    opens: bool
    at: float
    version: str

    def due(self, held: Held, now: float) -> bool:
        """Whether to ask again."""
        return held.version != self.version or now >= self.at + (PROVEN_FOR if self.opens else REFUSED_FOR)


class Proofs:
    """Verdicts by repository, in memory; threads share it. `transport` speaks to registries, `clock` is monotonic."""

    def __init__(
        self,
        access: AccessFacts,
        turns: Turns,
        secrets: Secrets,
        transport: Transport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._turns = turns
        self._secrets = secrets
        self._transport = transport
        self._clock = clock
        self._known: OrderedDict[str, Mapping[Secret, Verdict]] = OrderedDict()
        self._lock = threading.Lock()

    def proven(self, repository: str) -> list[Secret] | None:
        """The secrets that open the repository (`host/name`), in their order.

        None while it is not known which are in use, or any of these was never judged: to leave it out would be to say
        that it does not open.
        """
        if not self._secrets.synced:
            return None
        wanted, verdicts = self._secrets.of(repository), self._verdicts(repository)
        if any(secret not in verdicts for secret in wanted):
            return None
        return [secret for secret in wanted if verdicts[secret].opens]

    def due(self, repository: str) -> bool:
        """Whether something of it is to be learned."""
        verdicts, now = self._verdicts(repository), self._clock()
        return any(
            secret not in verdicts or verdicts[secret].due(self._secrets.held(secret), now)
            for secret in self._secrets.of(repository)
        )

    def learn(self, reference: Reference) -> None:
        """Judge the secrets that are due, by a HEAD of this image with each.

        Nothing where anybody may pull it, nor where strangers had no clear answer: a registry that is silent or counts
        too many questions would make what is public look private to those who have a secret.
        """
        if self._access.of(reference) not in (Access.PRIVATE, Access.ABSENT):
            return
        wanted, verdicts, now = self._secrets.of(reference.name), self._verdicts(reference.name), self._clock()
        kept = {secret: verdict for secret, verdict in verdicts.items() if secret in wanted}
        answers: dict[Sequence[Credentials], _Answer] = {}  # many namespaces have copies of one secret
        for secret in wanted:
            held, before = self._secrets.held(secret), kept.get(secret)
            if not held.judged or (before and not before.due(held, now)):
                continue
            credentials = held.config.match(reference.host, reference.repository) if held.config else ()
            if credentials not in answers:
                answers[credentials] = self._ask(reference, credentials) if credentials else _Answer.REFUSED
            opens = _opens(answers[credentials], before)
            if opens is not None:
                kept[secret] = Verdict(opens, self._clock(), held.version)
        with self._lock:
            self._known[reference.name] = kept
            self._known.move_to_end(reference.name)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)

    def _verdicts(self, repository: str) -> Mapping[Secret, Verdict]:
        with self._lock:
            return self._known.get(repository, {})

    def _ask(self, reference: Reference, credentials: Sequence[Credentials]) -> "_Answer":
        client = Client(self._transport, lambda _reference: credentials, anonymously=False)
        try:
            with self._turns.guard(reference.host):
                client.head(reference)
        except NotFound:
            return self._without_image(client, reference)
        except Unauthorized:
            return _Answer.REFUSED
        except RegistryError:
            return _Answer.UNCLEAR
        return _Answer.OPENS

    def _without_image(self, client: Client, reference: Reference) -> "_Answer":
        """The image is not there: whether its repository is, and for whom, its list of tags tells."""
        try:
            if self._lists(Client(self._transport), reference):
                return _Answer.UNCLEAR
            return _Answer.OPENS if self._lists(client, reference) else _Answer.ABSENT
        except RegistryError:
            return _Answer.UNCLEAR

    def _lists(self, client: Client, reference: Reference) -> bool:
        try:
            with self._turns.guard(reference.host):
                client.tags(reference)
        except (NotFound, Unauthorized, Unsupported):
            return False
        return True


class _Answer(Enum):
    """What a registry said to one secret's credentials."""

    OPENS = auto()
    REFUSED = auto()
    ABSENT = auto()
    UNCLEAR = auto()


def _opens(answer: _Answer, before: Verdict | None) -> bool | None:
    """Whether the secret opens the repository; None where nobody can say now, and so nothing changes.

    An image that was deleted is no reason to withdraw a proof: then the cache is needed most.
    """
    if answer is _Answer.UNCLEAR:
        return None
    if answer is _Answer.ABSENT:
        return before is not None and before.opens
    return answer is _Answer.OPENS
