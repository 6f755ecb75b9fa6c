"""What is in a tar archive, read as from a stranger (POSIX.1-2017 pax, "pax Interchange Format").

Only headers are read, and none of them may say how much memory is needed: tarfile itself keeps a long name or a pax
header whole, whatever size it claims. Nothing is ever unpacked to a path that the archive names.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from registry.errors import Corrupt

MAX_MEMBERS = 200_000
BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENDED = 64 * 1024
"""Bytes of a long name or a pax header."""
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_LONG_NAME = tarfile.GNUTYPE_LONGNAME
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in the archive: where its headers `start`, where its bytes are, and how many."""

    name: str
    start: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next header is."""
        return self.offset + padded(self.size)


class CutOff(Corrupt):
    """The archive ends in the middle of a member; `member` is that one, where its header is whole."""

    def __init__(self, message: str, at: int, member: Member | None = None) -> None:
        super().__init__(message)
        self.at = at
        self.member = member


def padded(size: int) -> int:
    """The bytes that content of this size takes up."""
    return -(-size // BLOCK) * BLOCK


def members(file: BinaryIO) -> Iterator[Member]:
    """The regular files of an archive, in its order; folders are passed over.

    Raises Corrupt for what is no tar archive, for links, devices and sparse files, and for names that lead out of the
    archive; CutOff where the file ends too early.
    """
    length = os.fstat(file.fileno()).st_size
    at, start, count = 0, 0, 0
    extended = _Extended()
    while header := _header(file, at, length):
        count += 1
        if count > MAX_MEMBERS:
            raise Corrupt(f"the archive has more than {MAX_MEMBERS} entries")
        at += BLOCK
        if header.type in _PAX or header.type == _LONG_NAME:
            extended = extended.with_text(header.type, _text(file, at, header.size, start, length))
            at += padded(header.size)
            continue
        name = _checked(extended.name or header.name)
        size = header.size if extended.size is None else extended.size
        member = Member(name, start, at, size)
        if header.type in _REGULAR:
            if member.end > length:
                raise CutOff(f"the archive ends in the middle of {name}", start, member)
            yield member
            at = member.end
        elif header.type != tarfile.DIRTYPE:
            raise Corrupt(
                f"the archive holds {name[:200]!r}, which is a link, a device or a sparse file: kuik reads none"
            )
        start, extended = at, _Extended()
    if start != at:
        raise CutOff("the archive ends with the header of a file that does not come", start)


@dataclass(frozen=True, slots=True)
class _Extended:
    """What headers before a member's own say of it."""

    name: str = ""
    size: int | None = None

    def with_text(self, kind: bytes, text: bytes) -> "_Extended":
        if kind == _LONG_NAME:
            return _Extended(_decoded(text.rstrip(b"\0")), self.size)
        if kind == tarfile.XGLTYPE:  # says something of all members, and so neither a name nor a size
            return self
        said = _records(text)
        size = said.get("size")
        if size is not None and not (size.isascii() and size.isdigit() and len(size) < 20):
            raise Corrupt("a header of the archive has a size that is no number")
        if any(name.startswith("GNU.sparse") for name in said):
            raise Corrupt("the archive holds a sparse file: kuik reads none")
        return _Extended(said.get("path", self.name), self.size if size is None else int(size))


def _header(file: BinaryIO, at: int, length: int) -> tarfile.TarInfo | None:
    """The header at this place; None at the archive's end."""
    file.seek(at)
    block = file.read(BLOCK)
    if not block.strip(b"\0"):
        if len(block) < BLOCK and at:
            raise CutOff("the archive ends without saying so", at)
        if not at:
            raise Corrupt("the file is no tar archive: it is empty")
        return None
    if len(block) < BLOCK:
        raise CutOff("the archive ends in the middle of a header", at)
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Corrupt(f"the file is no tar archive{_advice(block) if not at else f' from byte {at} on'}") from error
    if header.size < 0 or header.size > max(length, 1) * BLOCK:
        raise Corrupt("a header of the archive has a size that cannot be")
    return header


def _advice(block: bytes) -> str:
    kind = next((name for magic, name in _COMPRESSED.items() if block.startswith(magic)), "")
    return f": it is compressed with {kind}; decompress it first" if kind else ""


def _text(file: BinaryIO, at: int, size: int, start: int, length: int) -> bytes:
    if size > _MAX_EXTENDED:
        raise Corrupt(f"a header of the archive has more than {_MAX_EXTENDED} bytes")
    if at + padded(size) > length:
        raise CutOff("the archive ends in the middle of a header", start)
    file.seek(at)
    return file.read(size)


def _records(text: bytes) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header."""
    found: dict[str, str] = {}
    while text:
        digits, _, _ = text.partition(b" ")
        if not digits.isdigit() or len(digits) > 6 or not len(digits) + 2 < int(digits) <= len(text):
            raise Corrupt("a header of the archive cannot be read")
        record, text = text[: int(digits)], text[int(digits) :]
        key, _, value = record[len(digits) + 1 : -1].partition(b"=")
        found[_decoded(key)] = _decoded(value)
    return found


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _checked(name: str) -> str:
    """A member's name from the archive's root on; raises Corrupt for one that leads elsewhere."""
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise Corrupt(f"the archive holds {name[:200]!r}, a name that leads out of it")
    return "/".join(step for step in name.split("/") if step not in ("", "."))
