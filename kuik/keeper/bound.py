"""`python -m kuik.keeper.bound PARENT COMMAND...`: become COMMAND, and end when the process PARENT does.

A registry that nobody minds would go on writing beside the next one. In a container the kernel sees to it; elsewhere
this does, by prctl(2), which only a process itself can ask for.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, and see whether it came too late."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is ours to become
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
