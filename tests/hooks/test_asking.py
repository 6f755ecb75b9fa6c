"""Questions of many pods to the shield, asked once and never waited for too long."""

import threading
import time

from hooks.asking import PATIENCE, Asking
from hooks.facts import Access, Known, Unknown
from hooks.webhook import TIMEOUT
from registry.reference import Reference

NGINX = Reference.parse("nginx:1")
OTHER = Reference.parse("nginx:2")


def test_a_hundred_pods_ask_once() -> None:
    asked: list[Reference] = []

    def ask(reference: Reference) -> Access:
        asked.append(reference)
        time.sleep(0.1)
        return Known("public")

    asking = Asking(ask, patience=5)
    found: list[object] = []
    one_of = [NGINX, OTHER]  # one repository
    threads = [
        threading.Thread(target=lambda n=n: found.append(asking.answers([one_of[n % 2]])[NGINX.name]))
        for n in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Known("public")] * 100
    assert len(asked) == 1


def test_nobody_waits_longer_than_the_patience_and_the_late_answer_serves_the_next() -> None:
    go_on = threading.Event()

    def ask(_reference: Reference) -> Access:
        go_on.wait(5)
        return Known("public")

    asking = Asking(ask, patience=0.1)
    begun = time.monotonic()
    assert asking.answers([NGINX]) == {}
    assert time.monotonic() - begun < 0.5
    go_on.set()
    time.sleep(0.1)
    assert asking.answers([NGINX]) == {NGINX.name: Known("public")}


def test_the_shield_has_half_of_the_time_that_the_api_server_gives_admission() -> None:
    """In 0.3 s a crowd of pods had no answer, and pulled directly."""
    assert PATIENCE == TIMEOUT / 2
    assert Asking(None)._patience == PATIENCE


def test_answers_are_kept_for_a_while_and_ignorance_only_briefly() -> None:
    now = [0.0]
    said: list[Access] = [Unknown("first"), Known("private"), Known("public")]
    asking = Asking(lambda _reference: said.pop(0), patience=5, clock=lambda: now[0])
    assert asking.answers([NGINX]) == {NGINX.name: Unknown("first")}
    assert asking.answers([NGINX]) == {NGINX.name: Unknown("first")}
    now[0] = 3
    assert asking.answers([NGINX]) == {NGINX.name: Known("private")}
    now[0] = 32
    assert asking.answers([NGINX]) == {NGINX.name: Known("private")}
    now[0] = 34
    assert asking.answers([NGINX]) == {NGINX.name: Known("public")}


def test_a_question_that_breaks_is_no_answer() -> None:
    def ask(_reference: Reference) -> Access:
        raise OSError("broken")

    asking = Asking(ask, patience=5)
    assert asking.answers([NGINX]) == {}
    time.sleep(0.05)
    assert isinstance(asking.answers([NGINX])[NGINX.name], Unknown)


def test_without_a_shield_nothing_is_asked() -> None:
    assert Asking(None).answers([NGINX])
