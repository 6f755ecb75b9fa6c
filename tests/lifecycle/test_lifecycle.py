"""The life of images in a cluster where everything happens in any order; thousands of steps in `make chaos`."""

from hypothesis import HealthCheck, settings

from tests.lifecycle.machine import Lifecycle

TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
