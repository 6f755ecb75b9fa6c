"""`python -m bench.admission_target PORT`: admission with 200 rules, and beside it a webhook that does nothing."""

import sys

from flask import Flask, Response

from bench.policies import cluster_policies
from hooks.admission import read
from hooks.admission_app import MAX_BODY, Judge, create_app
from hooks.answers import body, json_answer
from hooks.asking import Asking
from hooks.containers import Obstacle
from hooks.facts import PUBLIC, Known, Proof, Settings
from hooks.policy import NamespacePolicies, Policies
from hooks.server import Server, gunicorn_options
from kube.types import Object
from registry.reference import Reference


class World:
    """A cluster in which everything is public, with 200 rules of which none fits the pods that come."""

    synced = True
    unfit: Obstacle | None = None

    def __init__(self) -> None:
        self._policies = Policies.read(cluster_policies(), [])

    def namespace(self, name: str) -> Object | None:
        return {"metadata": {"name": name, "labels": {"team": "shop"}}}

    def policies(self, namespace: Object) -> NamespacePolicies | None:
        return self._policies.of(namespace)

    def proof(self, _reference: Reference) -> Proof | None:
        return Proof(PUBLIC)


def application() -> Flask:
    """Both webhooks in one application."""
    judge = Judge(Settings(), World(), Asking(lambda _reference: Known(PUBLIC)), lambda: b"key")
    app = create_app(judge, lambda: True)

    @app.post("/nothing")
    def nothing() -> Response:
        uid = read(body(MAX_BODY)).uid
        return json_answer(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}
        )

    return app


if __name__ == "__main__":
    Server(application, gunicorn_options("bench-admission", f"127.0.0.1:{sys.argv[1]}", 1, 8, "warning")).run()
