"""Lists in pages: the next one is where the client can follow, whichever way it asked."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from proxy.app import create_app
from proxy.chain import Chain
from proxy.paging import rewritten
from proxy.sources.stored import Stored
from registry.capability import capability
from registry.client import _next_page
from registry.layout import Layout
from registry.manifest import parse_manifest
from registry.reference import Reference
from tests.proxy.test_private import write_keys
from tests.rig.components import proxy, shield
from tests.rig.faulty import Answer, Exchange, Relay
from tests.rig.images import image
from tests.rig.upstream import Upstream

BUILT = image("paged", layers=1)
TAGS = [f"v{number}" for number in range(5)]
KEY = "the-key-of-capabilities"


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    layout = Layout(tmp_path / "store")
    for digest, blob in BUILT.blobs.items():
        layout.blobs.put(digest, blob)
    for tag in TAGS:
        layout.tag(Reference.parse(f"quay.io/team/app:{tag}"), parse_manifest(BUILT.raw, BUILT.media_type))
    app: Flask = create_app(Chain([Stored(layout)]))
    return app.test_client()


@pytest.mark.parametrize("path", ["/v2/quay.io/team/app/tags/list?n=2", "/v2/team/app/tags/list?ns=quay.io&n=2"])
def test_a_client_that_follows_links_gets_all_tags(client: FlaskClient, path: str) -> None:
    found: list[str] = []
    for _ in range(4):
        answer = client.get(path)
        assert answer.json
        found += answer.json["tags"]
        if "Link" not in answer.headers:
            break
        path = answer.headers["Link"].partition("<")[2].partition(">")[0]
    assert found == TAGS


def pages(exchange: Exchange) -> None:
    """As distribution 3 answers, which knows the repository by the name that it has inside."""
    path, _, query = exchange.path.partition("?")
    last = parse_qs(query).get("last", [""])[0]
    rest = [tag for tag in TAGS if tag > last]
    link = {"Link": f'<{path}?last={rest[1]}&n=2>; rel="next"'} if len(rest) > 2 else {}
    body = json.dumps({"name": "x", "tags": rest[:2]}).encode()
    exchange.send(Answer(200, {"Content-Type": "application/json", **link}, body))


def test_the_next_page_of_a_private_repository(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys", KEY)
    with Relay() as registry:
        registry.rule(pages, path="/v2/private/reg.example/team/own/tags/list", times=None)
        options = ("--registry", registry.url, "--capability-keys", str(tmp_path / "keys"))
        component = proxy(tmp_path / "proxy", *options).start()
        try:
            opens = capability(KEY.encode(), Reference.parse("reg.example/team/own"))
            path = f"/v2/private/{opens}/reg.example/team/own/tags/list"
            link = component.get(f"{path}?n=2").headers["Link"].partition("<")[2].partition(">")[0]
            assert urlsplit(link).path == path
            assert parse_qs(urlsplit(link).query) == {"n": ["2"], "last": ["v1"]}
            assert b'"v2"' in component.get(link).body
        finally:
            component.stop()


def test_the_shield_tells_the_next_page_too(tmp_path: Path, upstream: Upstream) -> None:
    for tag in TAGS:
        upstream.push(BUILT, "team/app", tag)
    behind = shield(tmp_path / "shield", "--plain-http", upstream.host).start()
    front = proxy(tmp_path / "proxy", "--shield", behind.url).start()
    try:
        name = f"/v2/{upstream.host.replace(':', '__')}/team/app/tags/list"
        link = front.get(f"{name}?n=3").headers["Link"]
        assert _next_page(link) == "tags/list?n=3&last=v2"
        last = front.get(link.partition("<")[2].partition(">")[0])
        assert (last.headers["Link"], b'"v4"' in last.body) == (None, True)
    finally:
        front.stop()
        behind.stop()


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ('</v2/x/tags/list?last=a&n=2>; rel="next"', '</v2/p?last=a&n=2>; rel="next"'),
        ("<https://reg.example/v2/x/tags/list?last=a%2Fb>; rel=next", '</v2/p?last=a%2Fb>; rel="next"'),
        ('</other>; rel="prev", </v2/x/tags/list?last=c>; title=x; rel="next"', '</v2/p?last=c>; rel="next"'),
        ('</v2/x/tags/list?next_page=opaque>; rel="next"', ""),
        ('</v2/x/tags/list?last=a>; rel="last"', ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_other_registries_links(link: str, told: str) -> None:
    assert rewritten(link, "/v2/p", None) == told
