"""Admission's HTTP endpoints, which the API server calls, and what a review is judged by."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, NotFound

from hooks.admission import Mode, Request, admit, asked, read
from hooks.answers import body, json_answer, refused, unreadable
from hooks.asking import Asking
from hooks.containers import Obstacle, opted
from hooks.facts import Access, Proof, Settings, Unknown
from hooks.messages import Unreadable
from hooks.policy import NamespacePolicies, left_alone
from hooks.record import SILENT, AdmissionRecorder
from hooks.rewrite import Rules
from hooks.workloads import owner_kind
from kube.types import Object
from registry.reference import Reference

MAX_BODY = 3 * 1024 * 1024
"""Bytes of an AdmissionReview: what an API server stores of one object is at most 1.5 MiB."""

_NOT_KNOWN = Obstacle("NamespaceUnknown", "the namespace and its policies are not known yet")
_NOT_OPTED_IN = Obstacle("NotOptedIn", "the pod's label does not ask for the cache")
_UNKNOWN = Unknown("nobody was asked")
_log = logging.getLogger(__name__)


class Cluster(Protocol):
    """What is known of the cluster; see hooks.directory.Directory."""

    @property
    def synced(self) -> bool: ...
    @property
    def unfit(self) -> Obstacle | None: ...
    def namespace(self, name: str) -> Object | None: ...
    def policies(self, namespace: Object) -> NamespacePolicies | None: ...
    def proof(self, reference: Reference) -> Proof | None: ...


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows what a review is judged by. `key` is the key of capabilities, empty while it was not read."""

    settings: Settings
    cluster: Cluster
    asking: Asking
    key: Callable[[], bytes]

    def rules(self, review: Request, mode: Mode) -> Rules:
        """The rules for a review. The shield is asked of what is not proven, and given its time."""
        namespace = self.cluster.namespace(review.namespace)
        about = self.cluster.policies(namespace) if namespace is not None and self.cluster.synced else None
        rules = Rules(self.settings, _not_asked, namespace, proof=self.cluster.proof, key=self.key())
        if about is None or review.pod is None:
            return replace(rules, nothing=_NOT_KNOWN)
        rules = replace(rules, policy=_policy(about, review.pod, mode), nothing=self.cluster.unfit)
        answers = self.asking.answers(asked(review, rules))
        return replace(rules, access=lambda reference: answers.get(reference.name, _UNKNOWN))


def create_app(judge: Judge, ready: Callable[[], bool], counted: AdmissionRecorder = SILENT) -> Flask:
    """The application; `ready` says whether it can answer as it should, and `counted` is told of every review."""
    app = Flask("admission")

    @app.post("/admit")
    @app.post("/admit/<mode>")
    def admission(mode: str = Mode.ON.value) -> Response:
        wanted, started = _mode(mode), time.perf_counter()
        try:
            review = read(body(MAX_BODY))
            answer = admit(review, judge.rules(review, wanted), wanted)
        except Unreadable:
            counted.reviewed(wanted.value, "Unreadable", (), time.perf_counter() - started)
            raise
        result = "Patched" if answer.operations else "LeftAlone" if answer.left else "NothingAsked"
        left = [one.why.rule for one in answer.left]
        counted.reviewed(wanted.value, result, left, time.perf_counter() - started)
        return json_answer(answer.review())

    @app.get("/healthz")
    def health() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/readyz")
    def readiness() -> Response:
        return Response("ok\n", mimetype="text/plain") if ready() else Response("not ready\n", 503)

    app.register_error_handler(Unreadable, unreadable)
    app.register_error_handler(HTTPException, refused)
    return app


def _policy(about: NamespacePolicies, pod: Object, mode: Mode) -> Callable[[Reference], Obstacle | None]:
    if mode is Mode.OPT_IN and opted(pod) is not True:
        return lambda _reference: _NOT_OPTED_IN
    return left_alone(about, pod, owner_kind(pod))


def _not_asked(_reference: Reference) -> Access:
    return _UNKNOWN


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise NotFound(
            f"there is no mode {name[:64]!r}: it is one of {', '.join(mode.value for mode in Mode)}"
        ) from None
