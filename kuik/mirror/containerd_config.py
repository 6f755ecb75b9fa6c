"""Where containerd looks for hosts.toml files, told from its own configuration."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PLUGINS = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri")
"""Where the setting stands in configurations of version 3 (containerd 2), of version 2, and of version 1."""

_MAX_FILE = 1 << 20
ADVICE = """\
containerd reads no hosts.toml on this node, so pulls do not come by kuik, and go on as without it. To change that,
set in {file}, and restart containerd:
  containerd 2:   [plugins."io.containerd.cri.v1.images".registry]
                    config_path = "/etc/containerd/certs.d"
  containerd 1:   [plugins."io.containerd.grpc.v1.cri".registry]
                    config_path = "/etc/containerd/certs.d"
and move what stands under `registry.mirrors` and `registry.configs` there, as the two exclude each other."""


class NotConfigured(Exception):
    """containerd's configuration does not say where hosts.toml files are, or cannot be read; the message advises."""


def folders(file: Path, root: Path = Path("/")) -> tuple[str, ...]:
    """The folders of `config_path` in containerd's configuration and what it imports, in the order they are asked.

    `root` is where the node's file system is mounted; paths are the node's own. Raises NotConfigured.
    """
    found = ""
    for document in _documents(file, root):
        found = _config_path(document) or found
    if not found:
        raise NotConfigured(ADVICE.format(file=file))
    return tuple(part for part in found.split(":") if part)


def _documents(file: Path, root: Path) -> Iterator[Mapping[str, Any]]:
    """The configuration and its imports, each of which overrides what came before. Imports of imports do not count."""
    main = _read(file, root)
    yield main
    imports: Sequence[Any] = main.get("imports", ())
    for pattern in imports if isinstance(imports, list) else ():
        absolute = file.parent / str(pattern)
        for path in sorted(_under(root, absolute.parent).glob(absolute.name)):
            yield _read(absolute.parent / path.name, root)


def _read(file: Path, root: Path) -> Mapping[str, Any]:
    place = _under(root, file)
    try:
        with place.open("rb") as stream:
            return tomllib.loads(stream.read(_MAX_FILE).decode())
    except FileNotFoundError:
        raise NotConfigured(f"{file} is not there.\n{ADVICE.format(file=file)}") from None
    except OSError as error:
        raise NotConfigured(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotConfigured(f"{file} is not valid TOML: {error}") from error


def _config_path(document: Mapping[str, Any]) -> str:
    plugins = document.get("plugins")
    for name in _PLUGINS:
        value: Any = plugins
        for key in (name, "registry", "config_path"):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return value
    return ""


def _under(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")
