"""`kuik policy`: what policies do, before they do it."""

import click

from kuik.commands.late import LateGroup


@click.group(
    cls=LateGroup,
    late={
        "plan": "kuik.commands.policy_plan:plan",
        "why": "kuik.commands.policy_why:why_",
        "test": "kuik.commands.policy_test:test_",
        "lint": "kuik.commands.policy_lint:lint",
        "inventory": "kuik.commands.policy_inventory:inventory",
    },
)
def policy() -> None:
    """See what policies do, before they do it."""
