"""The DNS protocol, as far as kuik speaks it: against a server that is told what to say."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cluster_dns import ClusterDNS, guesses
from proxy.dns import Kind, NotTold, answered, ask, question

ASKED = question(0x1234, "kuik-shield-0.kuik-system.svc.cluster.local", Kind.IPV4)
HERE = "127.0.0.1"


def answer(asked: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    return asked[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + asked[12:] + b"".join(records)


def record(value: bytes, kind: int = 1, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 5, len(value)) + value


ADDRESS = record(bytes([10, 96, 0, 40]))


def test_the_addresses_of_an_answer() -> None:
    other = record(bytes([10, 96, 0, 41]), name=b"\x05other\x07example\x00")
    alias = record(b"\x05other\xc0\x0c", kind=5)
    assert answered(ASKED, answer(ASKED, ADDRESS)) == ("10.96.0.40",)
    assert answered(ASKED, answer(ASKED, alias, ADDRESS, other)) == ("10.96.0.40", "10.96.0.41")
    asked = question(7, "a.svc.cluster.local", Kind.IPV6)
    assert answered(asked, answer(asked, record(bytes(15) + b"\x01", kind=28))) == ("::1",)


def test_no_such_name_and_no_such_address_are_answers() -> None:
    assert answered(ASKED, answer(ASKED, flags=0x8183)) == ()
    assert answered(ASKED, answer(ASKED)) == ()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        ASKED,
        answer(ASKED, flags=0x8182),  # SERVFAIL, as of CoreDNS that has not read the cluster yet
        answer(ASKED, ADDRESS, flags=0x0100),
        answer(question(0x1235, "kuik-shield-0.kuik-system.svc.cluster.local", Kind.IPV4), ADDRESS),
        answer(question(0x1234, "kuik-shield-1.kuik-system.svc.cluster.local", Kind.IPV4), ADDRESS),
        answer(question(0x1234, "kuik-shield-0.kuik-system.svc.cluster.local", Kind.IPV6), ADDRESS),
        answer(ASKED, ADDRESS)[:-1],
        answer(ASKED, ADDRESS)[:-5],
        answer(ASKED, record(b"\x0a\x60\x00")),
    ],
)
def test_anything_else_is_no_answer(message: bytes) -> None:
    with pytest.raises(NotTold):
        answered(ASKED, message)


@given(st.binary(max_size=64), st.integers(0, 80))
def test_no_bytes_of_a_server_do_harm(noise: bytes, kept: int) -> None:
    message = answer(ASKED, ADDRESS, ADDRESS, flags=0x8180)[: 12 + kept] + noise
    try:
        found = answered(ASKED, message)
    except NotTold:
        return
    assert all(socket.inet_aton(address) for address in found)


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, "é.example", ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(NotTold):
        question(1, name, Kind.IPV4)


@contextmanager
def serving(say: Callable[[bytes], list[bytes]], by_stream: bytes = b"") -> Iterator[int]:
    """A DNS server's port: `say` gives the datagrams that answer a question, `by_stream` the records over TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as streams:
        datagrams.bind((HERE, 0))
        port = datagrams.getsockname()[1]
        streams.bind((HERE, port))
        streams.listen()

        def answer_datagrams() -> None:
            while True:
                asked, sender = datagrams.recvfrom(512)
                if not asked:
                    return
                for message in say(asked):
                    datagrams.sendto(message, sender)

        def answer_streams() -> None:
            while True:
                connection, _ = streams.accept()
                with connection, connection.makefile("rwb") as stream:
                    size = stream.read(2)
                    if not size:
                        return
                    asked = stream.read(int.from_bytes(size))
                    message = answer(asked, by_stream)
                    stream.write(struct.pack("!H", len(message)) + message)

        threads = [threading.Thread(target=one) for one in (answer_datagrams, answer_streams)]
        for thread in threads:
            thread.start()
        try:
            yield port
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (HERE, port))
            socket.create_connection((HERE, port)).close()
            for thread in threads:
                thread.join(30)


def test_asked_of_a_server() -> None:
    """An answer to something else, as one that comes late, is passed over."""
    with serving(lambda asked: [b"\0\0" + answer(asked)[2:], answer(asked, ADDRESS)]) as port:
        assert ask(HERE, "a.svc.cluster.local", 30, port) == ("10.96.0.40",)


def test_addresses_of_the_other_kind_are_asked_for_where_there_are_none_of_the_first() -> None:
    def say(asked: bytes) -> list[bytes]:
        kind = int.from_bytes(asked[-4:-2])
        return [answer(asked, record(bytes(15) + b"\x01", kind=28)) if kind == Kind.IPV6 else answer(asked)]

    with serving(say) as port:
        assert ask(HERE, "a.svc.cluster.local", 30, port) == ("::1",)


def test_what_is_too_long_for_a_datagram_is_asked_for_by_a_stream() -> None:
    with serving(lambda asked: [answer(asked, flags=0x8380)], by_stream=ADDRESS) as port:
        assert ask(HERE, "a.svc.cluster.local", 30, port) == ("10.96.0.40",)


def test_silence_and_a_closed_port_are_no_answers() -> None:
    with serving(lambda _: []) as port, pytest.raises(NotTold):
        ask(HERE, "a.svc.cluster.local", 0.2, port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((HERE, 0))
        port = nobody.getsockname()[1]
    with pytest.raises(NotTold):
        ask(HERE, "a.svc.cluster.local", 30, port)


def test_where_installers_put_the_cluster_s_dns() -> None:
    assert guesses("10.96.0.1") == ("10.96.0.10", "10.96.0.3", "169.254.20.10", "169.254.25.10")
    assert guesses("fd00:10:96::1") == ("fd00:10:96::a", "fd00:10:96::3")
    assert guesses("") == guesses("api.example") == ()


class Servers:
    """DNS servers by address: what each knows; others are silent."""

    def __init__(self, **known: dict[str, tuple[str, ...]]) -> None:
        self.known = {name.replace("_", ".").strip("."): names for name, names in known.items()}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, server: str, name: str, _seconds: float) -> tuple[str, ...]:
        self.asked.append((server, name))
        if server not in self.known:
            raise NotTold("silence")
        return self.known[server].get(name, ())


API = "kubernetes.default.svc.cluster.local"


def test_a_dns_that_was_guessed_is_believed_once_it_knows_the_api() -> None:
    """One of another domain knows of no name here, which would make every Service one that is gone."""
    servers = Servers(_10_96_0_10={}, _10_96_0_3={API: ("10.96.0.1",), "a": ("10.96.5.5",)})
    dns = ClusterDNS((), "10.96.0.1", "cluster.local", servers)
    assert dns.addresses("a") == ("10.96.5.5",)
    assert dns.addresses("b") == ()
    assert [server for server, _ in servers.asked] == ["10.96.0.10", "10.96.0.3", "10.96.0.3", "10.96.0.3"]


def test_a_dns_that_cannot_be_found_yet_is_looked_for_again() -> None:
    servers = Servers()
    dns = ClusterDNS((), "10.96.0.1", "cluster.local", servers)
    with pytest.raises(NotTold):
        dns.addresses("a")
    servers.known["169.254.20.10"] = {API: ("10.96.0.1",), "a": ("10.96.5.5",)}
    assert dns.addresses("a") == ("10.96.5.5",)


def test_a_dns_that_was_said_is_asked_alone_and_the_next_where_it_is_silent() -> None:
    servers = Servers(_10_233_0_4={"a": ("10.96.5.5",)}, _10_96_0_10={API: ("10.96.0.1",)})
    dns = ClusterDNS(["10.233.0.3", "10.233.0.4"], "10.96.0.1", "cluster.local", servers)
    assert dns.addresses("a") == ("10.96.5.5",)
    servers.known.clear()
    with pytest.raises(NotTold):
        dns.addresses("a")
    assert {server for server, _ in servers.asked} == {"10.233.0.3", "10.233.0.4"}
