"""What goes wrong for one parent, kept so that it does not end the work for all others."""

from collections.abc import Callable, Mapping

from kube.client import KubernetesError


class HookFailed(RuntimeError):
    """A hook gave no answer, as where an endpoint answers with other than 200; nothing may change because of it."""


class BadAnswer(HookFailed):
    """A hook's answer is not what its controller can act on; nothing of it is done."""


class ChildrenFailed(RuntimeError):
    """Some children could not be written; all others were."""


class SyncsFailed(RuntimeError):
    """Some parents could not be synced; all others were. `failures` says why, by controller and parent."""

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        super().__init__("; ".join(f"{parent}: {error}" for parent, error in failures.items()))
        self.failures = dict(failures)


EXPECTED = (HookFailed, ChildrenFailed, KubernetesError, OSError)
"""What fails for one parent, or one child, alone: hooks, the API server, and what lies between."""


def trouble_of(action: Callable[[], object]) -> Exception | None:
    """What an action raises of the EXPECTED errors, None where it ends well; others are mistakes of ours, and fly."""
    try:
        action()
    except EXPECTED as error:
        return error
    return None
