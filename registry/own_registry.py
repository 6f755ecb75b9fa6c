"""How kuik's components show themselves to the registry that holds the copies.

Two variables say it. KUIK_REGISTRY_TOKEN is what kuik's own registry knows: it is shown as the password of user `kuik`.
KUIK_REGISTRY_CREDENTIALS is the path of a pull secret (Docker's config.json), for a registry that knows other users;
only what it says of the registry's host counts. With neither, nothing is shown.
"""

from collections.abc import Mapping
from pathlib import Path

from registry.credentials import Credentials, DockerConfig, InvalidDockerConfig

TOKEN = "KUIK_REGISTRY_TOKEN"  # noqa: S105  the variable's name
FILE = "KUIK_REGISTRY_CREDENTIALS"
USER = "kuik"


def own_credentials(host: str, environment: Mapping[str, str]) -> Credentials | None:
    """What to show to the registry at `host` (`name:port`); raises InvalidDockerConfig, naming the variable."""
    file, token = environment.get(FILE, ""), environment.get(TOKEN, "").strip()
    if not file:
        return Credentials(USER, token) if token else None
    try:
        found = DockerConfig.parse(Path(file).read_bytes()).match(host, "")
    except OSError as error:
        raise InvalidDockerConfig(f"{FILE}: {file} cannot be read: {error.strerror}") from error
    except InvalidDockerConfig as error:
        raise InvalidDockerConfig(f"{FILE}: {file}: {error}") from error
    if not found:
        raise InvalidDockerConfig(f"{FILE}: {file} has no entry for {host}: add one under `auths`")
    return found[0]
