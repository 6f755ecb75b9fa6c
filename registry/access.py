"""Which credentials open which repository: anonymous first, then the keyring's, and what worked is remembered."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeVar

from registry.credentials import Credentials, Keyring
from registry.errors import NotFound, RateLimited, RegistryError, Unauthorized
from registry.reference import Reference

T = TypeVar("T")
_REMEMBERED = 4096
_TELLING = (RateLimited, NotFound, Unauthorized)


Renew = Callable[[Reference], bool]
"""Gets newer credentials for an image, where there are any; whether that changed something."""


def nothing_newer(reference: Reference) -> bool:  # noqa: ARG001  the form of Renew
    """For keyrings that are always up to date."""
    return False


class Access:
    """Tries what an image may be opened with. `keyring` is asked only when asking anonymously did not do.

    When all is refused and `renew` has something newer, all is tried once more. Without `anonymously` the keyring alone
    is tried.
    """

    def __init__(self, keyring: Keyring, renew: Renew = nothing_newer, *, anonymously: bool = True) -> None:
        self._keyring = keyring
        self._renew = renew
        self._anonymously = anonymously
        self._worked: OrderedDict[str, Credentials | None] = OrderedDict()
        self._guard = threading.Lock()

    def attempt(self, reference: Reference, ask: Callable[[Credentials | None], T]) -> T:
        """The result of the first `ask(credentials)` that is not refused.

        Refused means Unauthorized, NotFound (many registries hide what is private) or RateLimited; any other error is
        raised at once. When all are refused, raises the error that says most. NotFound from what opened the repository
        before is final.
        """
        try:
            return self._attempt(reference, ask)
        except (Unauthorized, NotFound):
            if not self._renew(reference):
                raise
        return self._attempt(reference, ask)

    def _attempt(self, reference: Reference, ask: Callable[[Credentials | None], T]) -> T:
        refused: list[RegistryError] = []
        for credentials, trusted in self._candidates(reference):
            try:
                result = ask(credentials)
            except (Unauthorized, NotFound, RateLimited) as error:
                refused.append(error)
                if trusted and isinstance(error, NotFound):
                    break
            else:
                self._remember(reference, credentials)
                return result
        if not refused:
            raise Unauthorized(f"{reference.name}: there are no credentials to ask with")
        # Of two that say as much, what was said to credentials says more than what was said to a stranger.
        raise min(reversed(refused), key=lambda error: _TELLING.index(type(error)))

    def _candidates(self, reference: Reference) -> Iterator[tuple[Credentials | None, bool]]:
        """Credentials to try, each with whether it opened this repository before."""
        if not self._anonymously:
            yield from ((one, False) for one in self._keyring(reference))
            return
        with self._guard:
            known = reference.name in self._worked
            before = self._worked.get(reference.name)
        if before is None:
            yield None, known
            yield from ((one, False) for one in self._keyring(reference))
            return
        offered = list(self._keyring(reference))
        if before in offered:
            offered.remove(before)
            yield before, True
        yield None, False
        yield from ((one, False) for one in offered)

    def _remember(self, reference: Reference, credentials: Credentials | None) -> None:
        with self._guard:
            self._worked[reference.name] = credentials
            self._worked.move_to_end(reference.name)
            while len(self._worked) > _REMEMBERED:
                self._worked.popitem(last=False)
