"""The hosts.toml files in containerd's folders: which of them get the proxy, written and taken out again.

containerd takes the folder of the registry's host, and `_default` where there is none, from the first of its folders
that has one of the two. So `_default` is made in the last folder, where it hides nothing, and each host's own file gets
the proxy too. A host on a loopback address is the node's own and never comes by kuik.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from kuik.mirror.hosts_file import Unchangeable, with_mirror, without_mirror
from registry.durable import write_whole

DEFAULT = "_default"
FILE = "hosts.toml"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: `changed`, or left as it is because of `problem`."""

    file: Path
    changed: bool = False
    problem: str = ""


def write(roots: Sequence[Path], proxy: str) -> list[Outcome]:
    """Put the proxy into every file, and make `_default` where there is none; raises OSError.

    One process of the node at a time: in an upgrade two proxies begin at once.
    """
    with _alone(roots):
        found = list(_hosts(roots))
        outcomes = [_write(folder / FILE, proxy) for folder in found]
        if not any(folder.name == DEFAULT for folder in found):
            folder = roots[-1] / DEFAULT
            folder.mkdir(parents=True, exist_ok=True)
            outcomes.append(_replace(folder / FILE, "", with_mirror("", proxy)))
        return outcomes


def remove(roots: Sequence[Path]) -> list[Outcome]:
    """Take the proxy out of every file, and away what kuik made; raises OSError."""
    with _alone(roots):
        return _removed(roots)


def _removed(roots: Sequence[Path]) -> list[Outcome]:
    outcomes = []
    for folder in _hosts(roots):
        file = folder / FILE
        try:
            text = _read(file)
        except Unchangeable as error:
            outcomes.append(Outcome(file, problem=f"left as it is: {error}"))
            continue
        rest = without_mirror(text)
        if text and not rest:
            file.unlink()
            with suppress(OSError):  # somebody put another file there
                folder.rmdir()
            outcomes.append(Outcome(file, changed=True))
        else:
            outcomes.append(_replace(file, text, rest))
    return outcomes


@contextmanager
def _alone(roots: Sequence[Path]) -> Iterator[None]:
    """Hold the folder above containerd's, against threads and processes alike."""
    held = os.open(roots[0].parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _write(file: Path, proxy: str) -> Outcome:
    try:
        text = _read(file)
        if not text:
            return Outcome(file, problem="there is none, so containerd takes certificates from its folder: left alone")
        return _replace(file, text, with_mirror(text, proxy))
    except Unchangeable as error:
        return Outcome(file, problem=f"left as it is: {error}")


def _replace(file: Path, before: str, after: str) -> Outcome:
    if after == before:
        return Outcome(file)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    write_whole(file, after.encode())
    file.chmod(mode)
    return Outcome(file, changed=True)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise Unchangeable("it is not UTF-8, so containerd ignores it: mend or remove it") from error


def _hosts(roots: Sequence[Path]) -> Iterator[Path]:
    """The folders of hosts, but those of the node itself."""
    for root in roots:
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if folder.is_dir() and not _is_own(folder.name):
                yield folder


def _is_own(name: str) -> bool:
    """Whether a folder is for a loopback address: `localhost`, `127.0.0.1:5000`, or with the port as `_5000_`."""
    host = re.sub(r"(:\d+|_\d+_)$", "", name).strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
