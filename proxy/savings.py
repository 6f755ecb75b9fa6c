"""What a node proxy tells a shield now and then: how much it served that it did not have from upstream itself.

Totals since the process began, so that a report that is lost, or comes twice, does no harm. Nothing waits for this, and
nothing but a debug line comes of a failure.
"""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from registry.connections import Addresses
from registry.errors import RegistryError
from registry.rendezvous import ordered
from registry.transport import NO_RETRIES, HostSettings, Timeouts, Transport

SERVED = "/served"
EVERY = 60.0
"""Seconds between reports."""
MOST = 2**63 - 1
MAX_BODY = 1024

_SOON = 5.0
_TIMEOUTS = Timeouts(2.0, 2.0)
_PROCESS = 32
_log = logging.getLogger("kuik.savings")


@dataclass(frozen=True, slots=True)
class Totals:
    """Bytes of bodies, and manifests that were got: what registries count as pulls."""

    bytes: int = 0
    pulls: int = 0

    def plus(self, other: "Totals") -> "Totals":
        """Both together, as far as 63 bits go."""
        return Totals(min(MOST, self.bytes + other.bytes), min(MOST, self.pulls + other.pulls))

    def beyond(self, other: "Totals") -> "Totals":
        """What came since `other`: nothing below zero."""
        return Totals(max(0, self.bytes - other.bytes), max(0, self.pulls - other.pulls))

    def highest(self, other: "Totals") -> "Totals":
        """The higher of each."""
        return Totals(max(self.bytes, other.bytes), max(self.pulls, other.pulls))

    @classmethod
    def read(cls, document: Any) -> Self:
        """From JSON's `{bytes, pulls}`; raises ValueError that names the field."""
        return cls(_number(document, "bytes"), _number(document, "pulls"))


@dataclass(frozen=True, slots=True)
class Report:
    """Of one `process` (32 hexadecimal digits), which began `age` seconds ago."""

    process: str
    age: int
    served: Totals

    def document(self) -> dict[str, Any]:
        """As it is sent."""
        return {"process": self.process, "age": self.age, "bytes": self.served.bytes, "pulls": self.served.pulls}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """From a request's body; raises ValueError that names the field."""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError("the body is not JSON") from error
        process = document.get("process") if isinstance(document, dict) else None
        if not isinstance(process, str) or len(process) != _PROCESS or not set(process) <= set("0123456789abcdef"):
            raise ValueError(f"process: write {_PROCESS} hexadecimal digits")
        return cls(process, _number(document, "age"), Totals.read(document))


class Reporter:
    """Tells one of the shields (`http://host:port`) the totals that `served` gives; always the same one, which is asked
    again when it was away: two would count twice. `addresses` finds it where the machine's resolver is not to."""

    def __init__(
        self, shields: Sequence[str], token: str, served: Callable[[], Totals], addresses: Addresses | None = None
    ) -> None:
        self._process = os.urandom(_PROCESS // 2).hex()
        self._shield = next(iter(ordered(shields, self._process)), "")
        self._token = token
        self._served = served
        self._begun = time.monotonic()
        self._told: Totals | None = None
        self._lock = threading.Lock()
        plain = HostSettings(plain_http=self._shield.startswith("http://"))
        self._transport = Transport(lambda _: plain, timeouts=_TIMEOUTS, retries=NO_RETRIES, addresses=addresses)

    def start(self) -> None:
        """Report from now on, and at the process's end; to be called in the process that serves."""
        if self._shield:
            threading.Thread(target=self._work, daemon=True, name="savings").start()
            atexit.register(self.report)

    def report(self) -> None:
        """Tell the totals where they are not what was told last. Never raises."""
        with self._lock:
            totals = self._served()
            if totals == self._told:
                return
            try:
                status = self._post(Report(self._process, int(time.monotonic() - self._begun), totals))
            except RegistryError as error:
                _log.debug("%s took no report: %s", self._shield, type(error).__name__)
                return
            if status == 204:
                self._told = totals
            else:
                _log.debug("%s answered a report with %d", self._shield, status)

    def _work(self) -> None:
        # Not all nodes at once, and early: what was served before a shield heard of a process may not count.
        time.sleep(_SOON * int(self._process[:4], 16) / 0xFFFF)
        while True:
            self.report()
            time.sleep(EVERY)

    def _post(self, report: Report) -> int:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        body = json.dumps(report.document()).encode()
        host = self._shield.partition("://")[2]
        response = self._transport.send("POST", host, SERVED, headers=headers, body=body)
        response.discard()
        return response.status


def _number(document: Any, field: str) -> int:
    found = document.get(field) if isinstance(document, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MOST:
        raise ValueError(f"{field}: write a number from 0 to {MOST}")
    return found
