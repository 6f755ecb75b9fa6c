"""`python -m tests.lifecycle [EXAMPLES] [STEPS]`: the life of images, thousands of steps of it (`make chaos`)."""

import logging
import sys
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lifecycle.machine import Lifecycle


def main(examples: int = 200, steps: int = 60) -> None:
    """Raises what it finds, with the deeds that led there."""
    logging.disable(logging.CRITICAL)  # keepers warn of every trouble that is made here
    began = time.monotonic()
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Lifecycle, settings=chosen)
    seconds = time.monotonic() - began
    print(f"{examples} lives of up to {steps} deeds in {seconds:.0f} s: nothing happened that never does")  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
