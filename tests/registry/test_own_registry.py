"""What kuik's components show to the registry of the copies."""

import json
from pathlib import Path

import pytest

from registry.credentials import Credentials, InvalidDockerConfig
from registry.own_registry import FILE, TOKEN, own_credentials


def test_nothing_is_shown_where_nothing_is_said() -> None:
    assert own_credentials("kuik-registry:5000", {}) is None
    assert own_credentials("kuik-registry:5000", {TOKEN: "", FILE: ""}) is None


def test_a_token_is_the_password_of_user_kuik() -> None:
    assert own_credentials("kuik-registry:5000", {TOKEN: "secret\n"}) == Credentials("kuik", "secret")


def test_a_pull_secret_is_for_its_host_alone_and_errors_name_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {"harbor.example": {"username": "robot", "password": "secret"}}}))
    environment = {FILE: str(file), TOKEN: "for another registry"}
    assert own_credentials("harbor.example", environment) == Credentials("robot", "secret")
    with pytest.raises(
        InvalidDockerConfig, match=r"KUIK_REGISTRY_CREDENTIALS.*no entry for kuik-registry:5000.*add one"
    ):
        own_credentials("kuik-registry:5000", environment)
    with pytest.raises(InvalidDockerConfig, match=r"KUIK_REGISTRY_CREDENTIALS.*cannot be read"):
        own_credentials("harbor.example", {FILE: str(tmp_path / "none")})
    file.write_text("hunter2")
    with pytest.raises(InvalidDockerConfig, match=r"KUIK_REGISTRY_CREDENTIALS.*not valid JSON") as refused:
        own_credentials("harbor.example", environment)
    assert "hunter2" not in str(refused.value)
