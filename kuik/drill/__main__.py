"""`python -m kuik.drill`: reads images from the cache alone, through the proxy of the node that it runs on.

It needs no credentials and no rights: it gets what any pod of the node gets. Variables: KUIK_DRILL, what to read, and
KUIK_DRILL_RATE, bytes a second. It says what it finds, a line each, on standard output.
"""

import json
import os
import sys
from collections.abc import Mapping

from kuik.check.copies import Lack
from kuik.drill.question import Question, Said
from kuik.drill.reading import Reader, only_cached
from kuik.keeper.hashing import Pace
from registry.errors import RegistryError

QUESTIONS, RATE = "KUIK_DRILL", "KUIK_DRILL_RATE"
_PROXY = "127.0.0.1:7439"


def run(environment: Mapping[str, str], host: str = _PROXY) -> int:
    """Read all; 0 also where something is not well: that is an answer. 2 for variables that are none."""
    try:
        questions = [Question.read(one) for one in json.loads(environment[QUESTIONS])]
        rate = float(environment[RATE])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        sys.stderr.write(f"{QUESTIONS} and {RATE}: {type(error).__name__}\n")
        return 2
    try:
        reader = Reader(only_cached(host), host, Pace(rate))
    except RegistryError as error:
        _say(Said("", ends=True, lack=Lack(error.reason, str(error))))
        return 0
    for question in questions:
        for said in reader.read(question):
            _say(said)
    return 0


def _say(said: Said) -> None:
    sys.stdout.write(f"{said.line()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(os.environ))
