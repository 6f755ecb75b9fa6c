"""Certificate authorities from the environment."""

from pathlib import Path

from registry.trust import default_trust


def test_one_bundle_is_taken_as_it_is_and_none_is_the_default(tmp_path: Path) -> None:
    assert default_trust({}) is True
    assert default_trust({"SSL_CERT_FILE": ""}) is True
    assert default_trust({"SSL_CERT_FILE": "/some/ca.pem"}) == "/some/ca.pem"
    assert default_trust({"SSL_CERT_FILE": "/some/ca.pem", "CURL_CA_BUNDLE": "/some/ca.pem"}) == "/some/ca.pem"


def test_of_several_bundles_all_count(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_bytes(b"first")
    two.write_bytes(b"second\n")
    environment = {"REQUESTS_CA_BUNDLE": str(one), "SSL_CERT_FILE": str(two), "CURL_CA_BUNDLE": str(tmp_path / "gone")}
    joined = default_trust(environment)
    assert Path(str(joined)).read_bytes() == b"first\nsecond\n"
    assert default_trust(environment) == joined
