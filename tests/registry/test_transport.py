"""The transport on its own: redirects, TLS, timeouts, retries, proxies, and what never leaks."""

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.address import Address
from registry.credentials import Credentials
from registry.errors import NotFound, RateLimited, ServerFailure, TLSFailure, Unreachable
from registry.transport import HostSettings, Retries, TimedOut, Timeouts, Transport, host_settings, raise_for
from tests.rig import faulty
from tests.rig.faulty import Relay, certificate
from tests.rig.processes import free_port
from tests.rig.reader import Pauses, everything_plain, transport

ALICE = Credentials("alice", "s3cret-enough")
PATH = "/v2/a/blobs/x"
SHORT = 0.5
BASIC = {"WWW-Authenticate": 'Basic realm="rig"'}


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


@pytest.fixture
def storage() -> Iterator[Relay]:
    """Another host, to which registries redirect."""
    with Relay() as relay:
        yield relay


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


class TestRedirects:
    def test_to_another_host_only_harmless_headers_travel(self, relay: Relay, storage: Relay) -> None:
        storage.rule(faulty.answer(206, b"bytes"))
        relay.rule(faulty.answer(401, headers=BASIC)).rule(faulty.redirect(f"{storage.url}/b?X-Amz-Signature=s"))
        headers = {"Range": "bytes=5-", "X-Own-Secret": "s", "Cookie": "s"}
        with transport().send("GET", relay.host, PATH, headers=headers, credentials=ALICE) as response:
            assert response.read(100) == b"bytes"
            assert response.redirected
        assert "Authorization" in relay.requests[1].headers
        sent = {name.lower() for name in storage.requests[0].headers}
        assert sent == {"host", "accept", "accept-encoding", "range", "user-agent"}
        assert storage.requests[0].headers["Range"] == "bytes=5-"
        assert storage.requests[0].path == "/b?X-Amz-Signature=s"

    def test_on_the_same_host_credentials_stay(self, relay: Relay) -> None:
        relay.rule(faulty.answer(401, headers=BASIC))
        relay.rule(faulty.redirect("/v2/b/blobs/x"), path=PATH).rule(faulty.answer(200))
        assert transport().send("GET", relay.host, PATH, credentials=ALICE).status == 200
        assert "Authorization" in relay.requests[2].headers

    def test_credentials_do_not_come_back_after_a_detour(self, relay: Relay, storage: Relay) -> None:
        relay.rule(faulty.answer(401, headers=BASIC))
        relay.rule(faulty.redirect(storage.url), path=PATH).rule(faulty.answer(200))
        storage.rule(faulty.redirect(f"{relay.url}/again"))
        transport().send("GET", relay.host, PATH, credentials=ALICE)
        assert [("Authorization" in seen.headers) for seen in relay.requests] == [False, True, False]

    def test_a_challenge_from_elsewhere_gets_no_credentials(self, relay: Relay, storage: Relay) -> None:
        relay.rule(faulty.redirect(storage.url), times=None)
        storage.rule(faulty.answer(401, headers=BASIC), times=None)
        assert transport().send("GET", relay.host, PATH, credentials=ALICE).status == 401
        assert all("Authorization" not in seen.headers for seen in storage.requests)

    @pytest.mark.parametrize("status", [403, 404])
    def test_who_refuses_elsewhere_is_not_asked_for_a_challenge(
        self, relay: Relay, storage: Relay, status: int
    ) -> None:
        relay.rule(faulty.redirect(f"{storage.url}/b"), times=None)
        bearer = {"WWW-Authenticate": f'Bearer realm="{storage.url}/token",service="s"'}
        storage.rule(faulty.answer(401, headers=bearer), path="/v2/")
        storage.rule(faulty.answer(status), times=None)
        assert transport().send("GET", relay.host, PATH, credentials=ALICE).status == status
        assert [seen.path for seen in storage.requests] == ["/b"]
        assert all("Authorization" not in seen.headers for seen in storage.requests)

    def test_rounds_end(self, relay: Relay) -> None:
        relay.rule(faulty.redirect(f"{relay.url}/again"), times=None)
        with pytest.raises(ServerFailure, match="more than 5"):
            Transport(everything_plain, retries=Retries(attempts=1)).send("GET", relay.host, PATH)
        assert len(relay.requests) == 6

    @pytest.mark.parametrize("location", ["", "ftp://x/y", "file:///etc/passwd", "http://", "http://h:bad/", "//"])
    def test_to_nowhere(self, relay: Relay, location: str) -> None:
        relay.rule(faulty.redirect(location), times=None)
        with pytest.raises(ServerFailure):
            transport().send("GET", relay.host, PATH)

    def test_what_writes_is_not_redirected(self, relay: Relay, storage: Relay) -> None:
        relay.rule(faulty.redirect(storage.url))
        assert transport().send("PUT", relay.host, PATH, body=b"x").status == 307
        assert storage.requests == []

    @pytest.mark.needs("openssl")
    def test_from_tls_to_plain_http_only_where_configured(self, storage: Relay, pem: tuple[Path, Path]) -> None:
        storage.rule(faulty.answer(200), times=None)
        with Relay(tls=pem) as secure:
            secure.rule(faulty.redirect(f"{storage.url}/x?sig=s"), times=None)
            trusting = host_settings(ca_files={secure.host: pem[0]})
            with pytest.raises(ServerFailure, match="plain HTTP") as refused:
                transport(trusting).send("GET", secure.host, PATH)
            assert "sig" not in str(refused.value)
            assert storage.requests == []
            allowed = host_settings(plain_http=[storage.host], ca_files={secure.host: pem[0]})
            assert transport(allowed).send("GET", secure.host, PATH).status == 200


@pytest.mark.needs("openssl")
class TestTLS:
    def test_a_ca_file_is_for_its_host(self, pem: tuple[Path, Path]) -> None:
        with Relay(tls=pem) as secure:
            secure.rule(faulty.answer(200, b"over tls"))
            with transport(host_settings(ca_files={secure.host: pem[0]})).send("GET", secure.host, PATH) as response:
                assert response.read(100) == b"over tls"
            with pytest.raises(TLSFailure, match=r"not trusted.*self-signed.*configure the CA"):
                transport(host_settings()).send("GET", secure.host, PATH)
        assert len(secure.requests) == 1

    def test_a_certificate_for_another_name(self, tmp_path: Path) -> None:
        pem = certificate(tmp_path, "registry.example")
        with Relay(tls=pem) as secure, pytest.raises(TLSFailure, match="not trusted"):
            transport(host_settings(ca_files={secure.host: pem[0]})).send("GET", secure.host, PATH)

    @pytest.mark.parametrize("content", [None, "not a certificate"])
    def test_a_ca_file_that_is_none_is_named(self, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "missing.pem"
        if content:
            path.write_text(content)
        with Relay() as server, pytest.raises(TLSFailure, match=r"missing\.pem"):
            transport(lambda _: HostSettings(ca_file=path)).send("GET", server.host, PATH)

    def test_plain_http_where_tls_is_expected(self, relay: Relay) -> None:
        with pytest.raises(TLSFailure, match="does not speak TLS"):
            transport(host_settings()).send("GET", relay.host, PATH)

    def test_tls_failures_are_not_tried_again(self, pem: tuple[Path, Path]) -> None:
        pauses = Pauses()
        with Relay(tls=pem) as secure, pytest.raises(TLSFailure):
            transport(host_settings(), sleep=pauses).send("GET", secure.host, PATH)
        assert pauses.taken == []


class TestRetries:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
    def test_what_is_temporary_is_tried_again(self, relay: Relay, status: int) -> None:
        pauses = Pauses()
        relay.rule(faulty.answer(status), times=2).rule(faulty.answer(200))
        assert transport(sleep=pauses).send("GET", relay.host, PATH).status == 200
        assert pauses.taken == [0.2, 0.4]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 416, 501])
    def test_what_is_final_is_not(self, relay: Relay, status: int) -> None:
        relay.rule(faulty.answer(status), times=None)
        assert transport().send("GET", relay.host, PATH).status == status
        assert len(relay.requests) == 1

    def test_the_last_answer_comes_back(self, relay: Relay) -> None:
        relay.rule(faulty.answer(503), times=None)
        assert transport().send("GET", relay.host, PATH).status == 503
        assert len(relay.requests) == 3

    def test_retry_after_is_honoured_up_to_a_bound(self, relay: Relay) -> None:
        pauses = Pauses()
        relay.rule(faulty.answer(429, headers={"Retry-After": "3"})).rule(faulty.answer(200))
        transport(sleep=pauses).send("GET", relay.host, PATH)
        assert pauses.taken == [3.0]
        relay.rule(faulty.answer(429, headers={"Retry-After": "60"}))
        assert transport(sleep=pauses).send("GET", relay.host, PATH).status == 429
        assert pauses.taken == [3.0]

    def test_a_reset_connection_is_tried_again(self, relay: Relay) -> None:
        relay.rule(lambda exchange: exchange.hang_up(reset=True)).rule(faulty.answer(200))
        assert transport().send("GET", relay.host, PATH).status == 200

    def test_what_is_not_idempotent_is_sent_once(self, relay: Relay) -> None:
        relay.rule(faulty.answer(503), times=None)
        assert transport().send("POST", relay.host, PATH).status == 503
        assert len(relay.requests) == 1

    def test_a_body_that_streams_is_sent_once(self, relay: Relay) -> None:
        class Body:
            def __len__(self) -> int:
                return 3

            def __iter__(self) -> Iterator[bytes]:
                yield b"abc"

        relay.rule(faulty.answer(503), times=None)
        assert transport().send("PUT", relay.host, PATH, body=Body()).status == 503
        assert len(relay.requests) == 1


class TestSilence:
    def test_an_answer_that_never_comes(self, relay: Relay) -> None:
        relay.rule(faulty.black_hole(relay), times=None)
        with pytest.raises(TimedOut, match=rf"{relay.host} did not answer in time"):
            transport(read=SHORT).send("GET", relay.host, PATH)
        relay.close()
        assert len(relay.requests) == 1, "what timed out is not asked again"

    def test_a_body_that_stops_coming(self, relay: Relay) -> None:
        until = threading.Event()

        def stall(exchange: faulty.Exchange) -> None:
            exchange.begin(200, {"Content-Length": "10"})
            exchange.write(b"12345")
            until.wait(10)

        relay.rule(stall)
        with transport(read=SHORT).send("GET", relay.host, PATH) as response, pytest.raises(TimedOut):
            response.read(100)
        until.set()

    def test_a_port_that_accepts_and_says_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(TimedOut):
                transport(host_settings(), read=SHORT).send("GET", host, PATH)

    @pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH\r\n", b"\x00\xff" * 100, b"HTTP/1.1 abc\r\n\r\n"])
    def test_a_port_that_speaks_something_else(self, noise: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_say, args=(server, noise), daemon=True).start()
            with pytest.raises(Unreachable):
                transport().send("GET", f"127.0.0.1:{server.getsockname()[1]}", PATH)

    def test_a_name_that_does_not_resolve(self) -> None:
        with pytest.raises(Unreachable, match=r"registry\.invalid cannot be resolved"):
            transport().send("GET", "registry.invalid", PATH)

    @pytest.mark.parametrize("host", ["a" * 64 + ".example", "..", "a b"])
    def test_a_host_that_cannot_be(self, host: str) -> None:
        with pytest.raises((Unreachable, ServerFailure)):
            transport().send("GET", host, PATH)


def _say(server: socket.socket, noise: bytes) -> None:
    try:
        while True:
            connection, _ = server.accept()
            connection.sendall(noise)
            connection.close()
    except OSError:
        return


class TestBodies:
    def test_compression_is_neither_asked_for_nor_undone(self, relay: Relay) -> None:
        relay.rule(faulty.answer(200, b"not really gzip", {"Content-Encoding": "gzip"}))
        with transport().send("GET", relay.host, PATH) as response:
            assert response.read(100) == b"not really gzip"
        assert relay.requests[0].headers["Accept-Encoding"] == "identity"

    def test_fewer_bytes_than_promised(self, relay: Relay) -> None:
        def short(exchange: faulty.Exchange) -> None:
            exchange.begin(200, {"Content-Length": "10"})
            exchange.write(b"12345")
            exchange.hang_up()

        relay.rule(short)
        with transport().send("GET", relay.host, PATH) as response, pytest.raises(Unreachable):
            response.read(100)

    def test_more_bytes_than_promised_are_not_read_nor_taken_for_the_next_answer(self, relay: Relay) -> None:
        def long(exchange: faulty.Exchange) -> None:
            exchange.begin(200, {"Content-Length": "5"})
            exchange.write(b"12345HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

        relay.rule(long).rule(faulty.answer(200, b"good"))
        sender = transport()
        with sender.send("GET", relay.host, PATH) as response:
            assert response.read(100) == b"12345"
        with sender.send("GET", relay.host, PATH) as response:
            assert response.read(100) == b"good"

    def test_pieces_are_bounded(self, relay: Relay) -> None:
        relay.rule(faulty.answer(200, b"x" * 300_000))
        with transport().send("GET", relay.host, PATH) as response:
            sizes = [len(piece) for piece in response.pieces(65536)]
        assert sum(sizes) == 300_000
        assert max(sizes) <= 65536

    def test_a_connection_is_used_again(self, relay: Relay) -> None:
        ports: list[int] = []

        def note(exchange: faulty.Exchange) -> None:
            ports.append(exchange.handler.client_address[1])
            faulty.error(404, "NAME_UNKNOWN")(exchange)

        relay.rule(note, times=None)
        sender = transport()
        for _ in range(3):
            with pytest.raises(NotFound):
                raise_for(sender.send("GET", relay.host, PATH), "it")
        assert len(set(ports)) == 1

    def test_a_connection_is_used_again_after_a_head(self, relay: Relay) -> None:
        ports: list[int] = []

        def note(exchange: faulty.Exchange) -> None:
            ports.append(exchange.handler.client_address[1])
            exchange.begin(200, {"Content-Length": "123"})

        relay.rule(note, times=None)
        sender = transport()
        for _ in range(3):
            with sender.send("HEAD", relay.host, PATH) as response:
                assert response.length == 123
        assert len(set(ports)) == 1


class TestSecrecy:
    def test_netrc_is_no_source_of_credentials(
        self, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login alice password s3cret\nmachine 127.0.0.1 login alice password s3cret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        relay.rule(faulty.answer(200))
        transport().send("GET", relay.host, PATH)
        assert "Authorization" not in relay.requests[0].headers

    def test_the_query_of_a_presigned_address_is_never_told(
        self, relay: Relay, storage: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        relay.rule(faulty.redirect(f"http://user:word@{storage.host}/blob?X-Amz-Signature=topsecret"), times=None)
        refusal = b'{"message": "see https://u:p@x.example/y?token=topsecret, Bearer topsecret.abc"}'
        storage.rule(faulty.answer(403, refusal)).rule(lambda exchange: exchange.hang_up(), times=None)
        with pytest.raises(ServerFailure, match="403") as refused:
            raise_for(transport().send("GET", relay.host, PATH), "blob")
        with pytest.raises(Unreachable) as broken:
            transport().send("GET", relay.host, PATH)
        told = f"{refused.value} {broken.value} {caplog.text}"
        assert "topsecret" not in told
        assert "u:p" not in told
        assert "word" not in told
        assert all("Authorization" not in seen.headers for seen in storage.requests)

    def test_the_user_agent_is_told(self, relay: Relay) -> None:
        relay.rule(faulty.answer(200))
        Transport(everything_plain, user_agent="kuik/1.2.3").send("GET", relay.host, PATH)
        assert relay.requests[0].headers["User-Agent"] == "kuik/1.2.3"


class TestProxies:
    def test_other_hosts_are_asked_through_the_proxy_of_the_environment(
        self, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _no_proxies(monkeypatch)
        monkeypatch.setenv("http_proxy", relay.url)
        relay.rule(faulty.answer(200), times=None)
        sender = Transport(lambda _: HostSettings(plain_http=True))
        assert sender.send("GET", "registry.invalid", PATH).status == 200
        assert relay.requests[0].path == f"http://registry.invalid{PATH}"
        monkeypatch.setenv("no_proxy", "registry.invalid")
        with pytest.raises(Unreachable):
            transport(lambda _: HostSettings(plain_http=True)).send("GET", "registry.invalid", PATH)

    def test_the_password_of_the_environment_s_proxy_is_never_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _no_proxies(monkeypatch)
        monkeypatch.setenv("all_proxy", f"http://alice:s3cret@127.0.0.1:{free_port()}")
        with pytest.raises(Unreachable, match=r"through the proxy http://127\.0\.0\.1:") as told:
            Transport(retries=Retries(attempts=1)).send("GET", "registry.invalid", PATH)
        assert "s3cret" not in str(told.value)

    def test_this_machine_is_asked_directly(self, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        _no_proxies(monkeypatch)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        relay.rule(faulty.answer(200), times=None)
        port = relay.host.partition(":")[2]
        plain = transport(lambda _: HostSettings(plain_http=True))
        assert [plain.send("GET", f"{name}:{port}", PATH).status for name in ("127.0.0.1", "localhost")] == [200, 200]


def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_timeouts_have_sensible_defaults() -> None:
    assert Timeouts() == Timeouts(connect=3.0, read=30.0)


def test_a_rate_limit_without_end_is_reported_with_its_wait(relay: Relay) -> None:
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "900"}), times=None)
    with pytest.raises(RateLimited) as limited:
        raise_for(transport().send("GET", relay.host, PATH), "it")
    assert limited.value.retry_after == 900


def test_a_default_port_that_is_written_keeps_its_settings() -> None:
    seen: list[str] = []

    def settings(host: str) -> HostSettings:
        seen.append(host)
        return HostSettings(plain_http=True)

    with pytest.raises(Unreachable):
        transport(settings).send("GET", "registry.invalid:80", PATH)
    assert set(seen) == {"registry.invalid:80"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://r.io/a", "https://R.io:443/b?c", True),
        ("http://r.io/a", "http://r.io:80/", True),
        ("https://r.io", "http://r.io", False),
        ("https://r.io", "https://r.io:444", False),
        ("https://r.io", "https://x.r.io", False),
        ("https://r.io", "https://u:p@r.io", True),
    ],
)
def test_what_credentials_belong_to(one: str, other: str, same: bool) -> None:
    assert (Address.parse(one).origin == Address.parse(other).origin) is same


def test_an_address_never_shows_its_query() -> None:
    address = Address.parse("https://u:p@r.io/a?sig=secret#x")
    assert (str(address), repr(address)) == ("https://r.io/a", "Address('https://r.io/a')")
    assert address.url == "https://r.io/a?sig=secret"
