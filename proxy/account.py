"""The account of one request, closed when its answer was sent: its log line, and what is told to who counts."""

import logging
import time
from dataclasses import dataclass, field

from proxy.errors import told_status
from proxy.path import Kind, shown
from proxy.record import BROKEN_OFF, CLIENT_LEFT, SERVED, SILENT, Exchange, Recorder
from proxy.sources.message import Answer, Request
from proxy.stream import NoBody
from registry.errors import RegistryError

log = logging.getLogger("kuik.pull")

_NO_KIND = "none"


@dataclass(slots=True)
class Account:
    """Opened when a request comes. `understood` and `begins` tell more of it; one of `answered`, `refused` and
    `failed` closes it.
    """

    method: str
    path: str
    recorder: Recorder = SILENT
    begun: float = field(default_factory=time.monotonic)
    _request: Request | None = None
    _first: float = 0.0

    def __post_init__(self) -> None:
        self.recorder.begun()

    def understood(self, request: Request) -> None:
        """The path is one of the API."""
        self._request = request
        if request.kind is not Kind.BASE:
            self.recorder.asks(_image(request))

    def begins(self) -> None:
        """The answer's first byte is at hand."""
        self._first = self._seconds

    def answered(self, answer: Answer, sent: int, error: RegistryError | None) -> None:
        """A source answered; `error` is what broke the body off, None also when the client left."""
        source = answer.source or "here"
        left = not isinstance(answer.body, NoBody) and answer.length is not None and sent < answer.length
        outcome = BROKEN_OFF if error else CLIENT_LEFT if left else SERVED
        seconds = self._close(source, outcome, sent, answer.span.start if answer.span else 0)
        if error:
            told = f"broken off after {sent} bytes from {source} in {seconds:.3f} s: {error.reason}: {error}"
            self._warn(told, error)
            return
        told = f"{answer.status}, the client left after" if left else f"{answer.status},"
        log.debug("%s: %s %d bytes from %s in %.3f s (%s)", self.what, told, sent, source, seconds, answer.cache)

    def refused(self, error: RegistryError) -> None:
        """There is nothing to send."""
        seconds = self._close("", error.reason, 0)
        self._warn(f"{told_status(error)} after {seconds:.3f} s: {error.reason}: {error}", error)

    def served_here(self) -> None:
        """The answer is our own, as to `/v2/`."""
        self._close("here", SERVED, 0)

    def failed(self) -> None:
        """A defect of ours: the server logs it."""
        self._close("", "Failed", 0)

    @property
    def what(self) -> str:
        """The request in words: never its query, nor what opens a private repository."""
        if self._request:
            return str(self._request)
        return f"{self.method} {shown(self.path)!r}"

    def _warn(self, told: str, error: RegistryError) -> None:
        """The same of the same image is said once in a while, however often a client tries again."""
        fields = {"request": self.what, "reason": error.reason, "seconds": round(self._seconds, 3)}
        log.warning("%s: %s", self.what, told, extra={"repeats": (self.what, error.reason), "fields": fields})

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self.begun

    def _close(self, source: str, outcome: str, sent: int, start: int = 0) -> float:
        request, seconds = self._request, self._seconds
        kind = (request.kind.value or "base") if request else _NO_KIND
        story = request.story if request else None
        self.recorder.ended(
            Exchange(
                method=self.method,
                kind=kind,
                source=source,
                outcome=outcome,
                sent=sent,
                first=self._first or seconds,
                whole=seconds,
                start=start,
                image=_image(request) if request and request.kind is not Kind.BASE else "",
                what=str(request.route) if request else "",
                tag=bool(request and request.kind is Kind.MANIFEST and not request.route.digest),
                rehearsed=bool(request and request.only_cached),
                asked=story.asked if story else (),
                resumed=story.resumed if story else (),
            )
        )
        return seconds


def _image(request: Request) -> str:
    return f"{request.route.host}/{request.route.repository}"
