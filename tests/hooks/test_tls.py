"""Certificates renewed under load: every handshake of clients that trust the bundle works, with real TLS."""

import contextlib
import os
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask

from hooks.admission_server import Keys
from hooks.certificate import BUNDLE, CA_LIFE, KNOWN_AFTER, LIFE, SERVED, SERVED_KEY, Data, plan
from hooks.own_secrets import OwnSecrets
from hooks.server import Server, gunicorn_options
from hooks.tls import NoCertificate, Served
from tests.rig.processes import free_port, listening, wait_until

NAMES = ["localhost", "127.0.0.1"]


def generations(now: datetime) -> list[Data]:
    """Certificates that are all valid now, as they would follow one another: renewed, then by another CA."""
    made = now - CA_LIFE + timedelta(days=300)
    found = [plan({}, made, NAMES)]
    for moment in (now - KNOWN_AFTER - timedelta(days=1), now):
        found.append(plan(found[-1], moment, NAMES))
    return found[1:]


def test_no_handshake_fails_while_the_certificate_changes() -> None:
    before, after = generations(datetime.now(UTC))
    assert before[SERVED] != after[SERVED]
    served = Served()
    served.show(before)
    port = free_port()
    tls: dict[str, Any] = {"certfile": os.devnull, "ssl_context": lambda _config, _usual: served.context}

    def load() -> Flask:
        def change() -> None:
            for number in range(200):
                time.sleep(0.02)
                served.show(after if number % 2 == 0 else before)

        threading.Thread(target=change, daemon=True).start()
        return Flask("tls")

    child = os.fork()
    if child == 0:
        try:
            Server(load, gunicorn_options("tls-test", f"127.0.0.1:{port}", 1, 4, "error") | tls).run()
        finally:
            os._exit(0)
    try:
        wait_until(lambda: listening(port), "the server listens", 10)
        _handshakes(port, before[BUNDLE].decode())
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)


def _handshakes(port: int, bundle: str) -> None:
    """Connect until the certificates have changed many times; what was seen of them is more than one."""
    trust = ssl.create_default_context(cadata=bundle)
    seen: set[bytes] = set()
    until = time.monotonic() + 3
    count = 0
    while time.monotonic() < until:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
            trust.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 404")
            seen.add(connection.getpeercert(binary_form=True) or b"")
            count += 1
    assert count > 50
    assert len(seen) == 2


def test_a_bad_certificate_leaves_the_last_one_in_place() -> None:
    served = Served()
    with pytest.raises(NoCertificate):
        _ = served.context
    good = plan({}, datetime.now(UTC), NAMES)
    assert served.show(good)
    context = served.context
    with pytest.raises(NoCertificate):
        served.show({SERVED: b"nonsense"})
    assert served.context is context
    assert served.ready
    assert not served.show(good)
    assert served.show(plan(good, datetime.now(UTC) + LIFE, NAMES))


class _NoSecrets:
    """Has kuik's other Secrets, and must not be asked for a certificate."""

    def ensure(self, _name: str, _make: Any) -> dict[str, bytes]:
        return {"token": b"t", "current": b"k"}


def _shown(served: Served, bundle: bytes) -> bytes:
    """The certificate that a client sees who trusts the bundle; raises ssl.SSLError where it does not."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)

    def serve() -> None:
        with contextlib.suppress(OSError), served.context.wrap_socket(theirs, server_side=True) as connection:
            connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        trust = ssl.create_default_context(cadata=bundle.decode())
        with trust.wrap_socket(ours, server_hostname="localhost") as connection:
            return connection.getpeercert(binary_form=True) or b""
    finally:
        ours.close()
        thread.join()


def test_a_certificate_from_mounted_files_is_served_and_followed(tmp_path: Path) -> None:
    """As kubelet mounts a Secret: files behind a link, which is changed in one step when the Secret is."""
    before, after = (plan({}, datetime.now(UTC), NAMES) for _ in range(2))
    mounted = tmp_path / "..data"
    for name, data in (("one", before), ("two", after), ("half", {**after, SERVED_KEY: before[SERVED_KEY]})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(data[SERVED])
        (tmp_path / name / "tls.key").write_bytes(data[SERVED_KEY])

    def mount(name: str) -> None:
        (tmp_path / "next").symlink_to(tmp_path / name)
        (tmp_path / "next").rename(mounted)

    mount("one")
    served = Served()
    keys = Keys(cast("OwnSecrets", _NoSecrets()), served, NAMES, (mounted / "tls.crt", mounted / "tls.key"))
    keys.read()
    first = _shown(served, before[BUNDLE])
    mount("half")
    with pytest.raises(NoCertificate):
        keys.read()
    assert _shown(served, before[BUNDLE]) == first, "what cannot be served does not replace what can"
    mounted.unlink()
    with pytest.raises(OSError, match=r"tls\.crt"):
        keys.read()
    assert _shown(served, before[BUNDLE]) == first
    mount("two")
    keys.read()
    assert _shown(served, after[BUNDLE]) != first
    with pytest.raises(ssl.SSLError):
        _shown(served, before[BUNDLE])
    assert (keys.token, keys.key) == ("t", b"k")
