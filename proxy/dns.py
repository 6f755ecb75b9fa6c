"""What one DNS server says of a name: as much of the protocol as Services need, since a library of it costs 5 MiB."""

import ipaddress
import os
import socket
import struct
import time
from enum import IntEnum

PORT = 53
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_RECURSE, _ANSWER, _CUT = 0x0100, 0x8000, 0x0200
_NO_SUCH_NAME = 3
_INTERNET = 1
_MOST = 65535


class Kind(IntEnum):
    """Which addresses are asked for."""

    IPV4 = 1
    IPV6 = 28


class NotTold(Exception):
    """The server said nothing, or nothing that is an answer."""


class _Cut(Exception):
    """The answer is longer than a datagram."""


def ask(server: str, name: str, seconds: float, port: int = PORT) -> tuple[str, ...]:
    """The addresses of a name, none where it has none; raises NotTold. `seconds` is for each of at most four tries."""
    return _ask(server, port, name, Kind.IPV4, seconds) or _ask(server, port, name, Kind.IPV6, seconds)


def question(number: int, name: str, kind: Kind) -> bytes:
    """The message that asks for the addresses of a name; raises NotTold where it cannot be one."""
    try:
        labels = [label.encode("ascii") for label in name.removesuffix(".").split(".")]
    except UnicodeEncodeError:
        raise NotTold("this is not the name of a host") from None
    if not all(0 < len(label) < 64 for label in labels) or sum(len(label) + 1 for label in labels) > 254:
        raise NotTold("this is not the name of a host")
    written = b"".join(bytes([len(label)]) + label for label in labels)
    return _HEADER.pack(number, _RECURSE, 1, 0, 0, 0) + written + struct.pack("!xHH", kind, _INTERNET)


def answered(asked: bytes, message: bytes) -> tuple[str, ...]:
    """The addresses in the answer to a question; raises NotTold where it is none, or is not understood."""
    try:
        return _read(asked, message)
    except (struct.error, IndexError):
        raise NotTold("the answer ends too early") from None


def _read(asked: bytes, message: bytes) -> tuple[str, ...]:
    number, flags, questions, records, _, _ = _HEADER.unpack_from(message)
    if number != _number(asked) or not flags & _ANSWER or questions != 1:
        raise NotTold("this answers another question")
    if message[_HEADER.size : len(asked)].lower() != asked[_HEADER.size :].lower():
        raise NotTold("this answers another question")
    if flags & _CUT:
        raise _Cut
    status = flags & 0xF
    if status == _NO_SUCH_NAME:
        return ()
    if status:
        raise NotTold(f"the answer is failure {status}")
    kind = int.from_bytes(asked[-4:-2])
    found, place = [], len(asked)
    for _ in range(records):
        place = _behind_name(message, place)
        of, family, _, length = _RECORD.unpack_from(message, place)
        place += _RECORD.size
        value = message[place : place + length]
        place += length
        if of == kind and family == _INTERNET:
            found.append(_address(value, kind))
    return tuple(found)


def _address(value: bytes, kind: int) -> str:
    if len(value) != (4 if kind == Kind.IPV4 else 16):
        raise NotTold("an address in the answer is none")
    return str(ipaddress.ip_address(value))


def _behind_name(message: bytes, place: int) -> int:
    while length := message[place]:
        if length >= 0xC0:  # the rest of the name is written elsewhere
            return place + 2
        place += 1 + length
    return place + 1


def _number(message: bytes) -> int:
    return int.from_bytes(message[:2])


def _ask(server: str, port: int, name: str, kind: Kind, seconds: float) -> tuple[str, ...]:
    asked = question(int.from_bytes(os.urandom(2)), name, kind)
    try:
        try:
            return _by_datagram(server, port, asked, seconds)
        except _Cut:
            return answered(asked, _by_stream(server, port, asked, seconds))
    except (OSError, _Cut):
        raise NotTold(f"{server} does not answer") from None


def _by_datagram(server: str, port: int, asked: bytes, seconds: float) -> tuple[str, ...]:
    until = time.monotonic() + seconds
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.connect((server, port))
        sock.send(asked)
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            message = sock.recv(_MOST)
            if _number(message) == _number(asked):
                return answered(asked, message)
    raise TimeoutError


def _by_stream(server: str, port: int, asked: bytes, seconds: float) -> bytes:
    with socket.create_connection((server, port), seconds) as sock, sock.makefile("rb") as stream:
        sock.sendall(struct.pack("!H", len(asked)) + asked)
        return stream.read(int.from_bytes(stream.read(2)))


def _family(server: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server else socket.AF_INET
