"""`python -m tests.e2e.rig.driver KUBECONFIG URL`: our driver in Metacontroller's place; URL is the hooks'."""

import http.client
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from kube.client import Api, KubernetesError
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.remote import Remote
from kuik.driver.troubles import HookFailed, SyncsFailed

_PAUSE = 0.3


class Hooks:
    """The stages, asked over HTTP."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url).netloc

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/sync/{stage}", request)

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/customize/{stage}", request)

    def _ask(self, path: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection(self._place, timeout=30)
        try:
            connection.request("POST", path, orjson.dumps(request), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise HookFailed(str(error)) from error
        finally:
            connection.close()
        if response.status != 200:
            raise HookFailed(f"{path}: {response.status} {body[:200]!r}")
        answer: Mapping[str, Any] = orjson.loads(body)
        return answer


def main(kubeconfig: str, url: str) -> None:
    """Sync for ever."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    shelf = Remote(Api.from_kubeconfig(kubeconfig))
    driver = Driver(shelf, load(), Hooks(url), lambda: datetime.now(UTC))
    while True:
        try:
            shelf.look()
            driver.settle()
        except (SyncsFailed, KubernetesError) as error:
            logging.info("%s", error)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
