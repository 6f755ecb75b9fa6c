"""From what a registry answers to the error a person reads."""

import json
from email.utils import formatdate
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import errors
from registry.address import Address
from registry.errors import (
    Corrupt,
    NotFound,
    RateLimited,
    RegistryError,
    ServerFailure,
    StoreFull,
    TLSFailure,
    Unauthorized,
    Unsupported,
)
from registry.failures import Complaint, error_kind, raise_for, read_complaint, retry_after
from registry.redact import LONGEST, redact
from registry.response import Response


class Bytes:
    """A body that is all there."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int) -> bytes:
        piece, self.content = self.content[:size], self.content[size:]
        return piece

    def direct(self) -> None:
        """There is no socket."""

    def close(self) -> None:
        self.content = b""


def answered(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
    address = Address("https", "r.io", "/v2/a/manifests/1?token=topsecret")
    return Response(status, headers or {}, Bytes(body), method="GET", address=address)


def spec(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": {"x": 1}}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, spec("UNAUTHORIZED"), Unauthorized),
        (403, spec("DENIED"), Unauthorized),
        (403, spec("TOOMANYREQUESTS"), RateLimited),
        (403, b"<html>forbidden</html>", Unauthorized),
        (404, spec("MANIFEST_UNKNOWN"), NotFound),
        (404, spec("UNAUTHORIZED"), Unauthorized),
        (400, spec("NAME_UNKNOWN"), NotFound),
        (404, b"", NotFound),
        (404, b"404 page not found", NotFound),
        (410, b"", NotFound),
        (405, b"Method not allowed", Unsupported),
        (405, spec("UNSUPPORTED"), Unsupported),
        (429, b"", RateLimited),
        (400, spec("MANIFEST_INVALID"), RegistryError),
        (413, b"<html>too large</html>", RegistryError),
        (500, spec("UNKNOWN"), ServerFailure),
        (500, spec("UNAUTHORIZED"), ServerFailure),
        (502, b"<html>bad gateway</html>", ServerFailure),
        (504, b"", ServerFailure),
        (302, b"", ServerFailure),
        (507, b"", StoreFull),
        (500, b'{"errors":[{"code":"UNKNOWN","detail":{"Err":28,"m":"no space left on device"}}]}', StoreFull),
        (500, b'{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Op":"write","Err":28}}}]}', StoreFull),
        (500, b'{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Op":"read","Err":5}}}]}', ServerFailure),
        (500, b'{"errors":[{"code":"UNKNOWN","detail":{"Enclosed":{"Err":[28]}}}]}', ServerFailure),
    ],
)
def test_kinds(status: int, body: bytes, kind: type[RegistryError]) -> None:
    with pytest.raises(RegistryError) as error:
        raise_for(answered(status, body), "manifest of r.io/a:1")
    assert type(error.value) is kind
    assert str(error.value).startswith(f"manifest of r.io/a:1: r.io answered {status}")
    assert "topsecret" not in str(error.value)


@pytest.mark.parametrize("status", [200, 201, 202, 206])
def test_success_is_no_error(status: int) -> None:
    raise_for(answered(status), "it")


def test_a_refusal_by_storage_is_not_one_of_credentials() -> None:
    assert error_kind(403, Complaint(), elsewhere=True) is ServerFailure
    assert error_kind(404, Complaint(), elsewhere=True) is NotFound


def test_what_the_registry_says_is_told_shortly_and_on_one_line() -> None:
    message = "line\none\x00 https://u:p@h.io/x?sig=topsecret password=topsecret Bearer topsecret " + "long " * 500
    with pytest.raises(NotFound) as error:
        raise_for(answered(404, spec("NAME_UNKNOWN", message)), "it")
    text = str(error.value)
    assert "NAME_UNKNOWN: line one https://h.io/x " in text
    assert "topsecret" not in text
    assert "u:p" not in text
    assert "\n" not in text
    assert len(text) < LONGEST + 100


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"errors": []}', b'{"errors": [5]}', b'{"errors": {"code": 5}}', b"[" * 70_000, b"\xff"],
)
def test_any_body_is_read(body: bytes) -> None:
    assert read_complaint(body) == Complaint()


def test_bodies_without_end_are_not_read_to_their_end() -> None:
    body = Bytes(b"x" * (1 << 20))
    with pytest.raises(NotFound):
        raise_for(
            Response(404, {"Content-Length": str(1 << 20)}, body, method="GET", address=Address("https", "r", "/")),
            "it",
        )
    assert body.content == b""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("0", 0), ("120", 120), (" 5 ", 5), ("-5", None), ("soon", None), ("9" * 30, 86400), ("1.5", None)],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}) == seconds


def test_retry_after_as_a_date() -> None:
    later = retry_after({"Retry-After": formatdate(time() + 600, usegmt=True)})
    assert later == pytest.approx(600, abs=30)
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@pytest.mark.parametrize("ahead", [-36_000, 36_000])
def test_a_wait_until_a_date_is_told_by_the_server_s_clock_not_by_ours(ahead: int) -> None:
    clock = time() + ahead
    headers = {"Retry-After": formatdate(clock + 60, usegmt=True), "Date": formatdate(clock, usegmt=True)}
    assert retry_after(headers) == 60
    assert retry_after(headers | {"Date": "no date"}) != 60


@given(st.text())
def test_redaction_never_fails_and_is_bounded(text: str) -> None:
    assert len(redact(text)) <= LONGEST
    assert redact(redact(text)) == redact(text)


@given(st.from_regex(r"[A-Za-z0-9]{12,20}", fullmatch=True))
def test_secrets_in_urls_and_headers_are_gone(secret: str) -> None:
    secret = f"S{secret}S"
    for form in ("https://u:{}@h/p", "http://h/p?a=1&b={}", "https://h/p#{}", "Basic {}", "bearer {}", '"token":"{}"'):
        assert secret not in redact("see " + form.format(secret) + " there")


def test_every_error_says_how_it_is_shown() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RegistryError)]
    assert len(kinds) >= 11
    for kind in kinds:
        error = kind("it", retry_after=5)
        assert error.retry_after == 5
        assert error.reason
        assert error.code.isupper()
        assert 400 <= error.status < 600


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (502, "Corrupt", Corrupt),
        (502, "TLS", TLSFailure),
        (404, "NotFound", NotFound),
        (503, "Unreachable", ServerFailure),
    ],
)
def test_the_shield_tells_what_upstreams_fault_was(status: int, reason: str, expected: type[RegistryError]) -> None:
    body = {"errors": [{"code": "UNKNOWN", "message": "what upstream did", "detail": {"reason": reason}}]}
    complaint = read_complaint(json.dumps(body).encode())
    assert error_kind(status, complaint) is expected
