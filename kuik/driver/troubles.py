"""What goes wrong for one parent, kept so that it does not end the work for all others."""

from collections.abc import Callable, Mapping


class SyncsFailed(RuntimeError):
    """Some parents could not be synced; all others were. `failures` says why, by controller and parent."""

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        super().__init__("; ".join(f"{parent}: {error}" for parent, error in failures.items()))
        self.failures = dict(failures)


class ChildrenFailed(RuntimeError):
    """Some children could not be written; all others were."""


def trouble_of(action: Callable[[], object]) -> Exception | None:
    """What an action raises, None where it ends well."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - hooks and API servers fail in many ways, each for one parent alone
        return error
    return None
