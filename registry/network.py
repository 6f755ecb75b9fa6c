"""Why there was no answer, in words: the HTTP libraries' nested exceptions reduced to the error tree.

Their own messages are never shown: they hold whole URLs.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from registry.errors import RegistryError, TLSFailure, Unreachable
from registry.response import TimedOut

_DEEPEST = 12
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def failure(error: BaseException, host: str, *, timed_out: bool = False, ca_file: object = None) -> RegistryError:
    """What an exception of the HTTP library means for a request to `host`, trusted by `ca_file` where one is set."""
    if isinstance(error, ValueError):
        return Unreachable(f"{host} cannot be asked: that is not a valid address")
    causes = list(_causes(error))
    if (tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)) and not timed_out:
        return _tls(tls, host, ca_file)
    if timed_out or any(isinstance(cause, TimeoutError) for cause in causes):
        return TimedOut(f"{host} did not answer in time")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreachable(f"the name of {host} cannot be resolved")
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if isinstance(system, OSError) and system.errno:
        return Unreachable(f"{host} cannot be reached: {_words(system.errno)}")
    return Unreachable(f"{host} closed the connection or sent something that is not HTTP")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it wraps, by whatever means its library wraps."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < _DEEPEST:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or any(current is one for one in seen):
            continue
        seen.append(current)
        yield current
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]


def _tls(error: ssl.SSLError, host: str, ca_file: object) -> RegistryError:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = f"it is checked with {ca_file}" if ca_file else "configure the CA that signed it for this host"
        return TLSFailure(f"the certificate of {host} is not trusted: {error.verify_message}; {advice}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return Unreachable(f"{host} closed the connection during TLS")
    if error.reason in _NO_TLS:
        return TLSFailure(
            f"{host} does not speak TLS; if it serves plain HTTP on purpose, configure plain HTTP for this host"
        )
    reason = (error.reason or "unknown reason").lower().replace("_", " ")
    return TLSFailure(f"TLS with {host} failed: {reason}" + (f"; its CA file is {ca_file}" if ca_file else ""))


def _words(number: int) -> str:
    return "connection refused" if number == errno.ECONNREFUSED else os.strerror(number).lower()
