"""`python -m telemetry.probe ADDRESS [PATH]`: asks a telemetry listener, for probes that must reach this very pod.

On a host's network a port may be another process's, as while a new pod takes over from an old one. A socket file in the
pod's own folder is nobody else's: `python -m telemetry.probe unix:/run/kuik/telemetry.sock /readyz`. It imports next to
nothing, since kubelet starts it again and again. It exits with 0 for a 200; else it writes what was answered.
"""

import sys

from telemetry.address import TelemetryAddress

SECONDS = 3.0
_MOST = 65536


def ask(address: TelemetryAddress, path: str) -> tuple[int, str]:
    """Status and body of the answer; raises OSError and ValueError."""
    with address.connect(SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode("ascii"))
        answer = b""
        while len(answer) < _MOST and (piece := connection.recv(_MOST)):
            answer += piece
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    return int(head.split(" ", 2)[1] if head.count(" ") else 0), body


def main(words: list[str]) -> int:
    """The exit status."""
    if not 1 <= len(words) <= 2:
        sys.stderr.write("usage: python -m telemetry.probe ADDRESS [PATH]\n")
        return 2
    try:
        status, body = ask(TelemetryAddress.parse(words[0]), words[1] if words[1:] else "/readyz")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{words[0]}: {error}\n")
        return 1
    if status != 200:
        sys.stderr.write(body)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
