"""A hosts.toml of containerd with the node proxy in it, as text: what others wrote stays byte for byte.

The rules are those of containerd's docs/hosts.md: hosts are asked in the order in which their tables stand in the file,
and after them the registry itself, which is `server` or else the registry's own name.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

MAX_FILE = 64 * 1024
_BEGIN = "# >>> kube-image-keeper: the node proxy is asked first. `python -m kuik.mirror remove` takes these lines out."
_END = "# <<< kube-image-keeper"
_BLOCK = re.compile(rf"{re.escape(_BEGIN)}\n.*?^{re.escape(_END)}(\n|\Z)", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


class Unchangeable(Exception):
    """The file cannot be changed with certainty, so it is left alone; the message says why, and what to do."""


def with_mirror(text: str, proxy: str) -> str:
    """The file with `proxy` (a URL) before all other hosts; raises Unchangeable. Doing it twice changes nothing."""
    plain = without_mirror(text)
    before = _parse(plain)
    hosts = before.get("host", {})
    if not isinstance(hosts, Mapping):
        raise Unchangeable("`host` is not a table: containerd ignores such a file; mend or remove it")
    if proxy in hosts:
        raise Unchangeable(f"it names {proxy} by itself: remove that table if kuik is to write it")
    wanted = {**before, "host": {**hosts, proxy: {"capabilities": ["pull", "resolve"]}}}
    for candidate in _candidates(plain, _block(proxy)):
        if _means(candidate, wanted):
            return candidate
    raise Unchangeable(f'no place was found for a table [host."{proxy}"]: add it by hand before all others')


def without_mirror(text: str) -> str:
    """The file as it was before `with_mirror`; empty where kuik made it."""
    found = _BLOCK.search(text)
    if not found:
        return text
    # A block at the very end stands after a newline that is ours too, if the file had none of its own.
    ours = found.group(1) == "" and text[: found.start()].endswith("\n")
    return text[: found.start() - ours] + text[found.end() :]


def _block(proxy: str) -> str:
    return f'{_BEGIN}\n[host."{proxy}"]\n  capabilities = ["pull", "resolve"]\n{_END}'


def _candidates(text: str, block: str) -> Iterator[str]:
    """The block before each line that may begin a table, for the first that does; at the end where none does."""
    for table in _TABLE.finditer(text):
        yield f"{text[: table.start()]}{block}\n{text[table.start() :]}"
    yield f"{text}{block}\n" if not text or text.endswith("\n") else f"{text}\n{block}"


def _means(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _parse(text: str) -> Mapping[str, Any]:
    if len(text) > MAX_FILE:
        raise Unchangeable(f"it is larger than {MAX_FILE} bytes")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unchangeable(f"it is not valid TOML ({error}), so containerd ignores it: mend or remove it") from error
