"""`kuik policy`: what policies do, before they do it."""

import click

from kuik.commands.policy_inventory import inventory
from kuik.commands.policy_lint import lint
from kuik.commands.policy_plan import plan
from kuik.commands.policy_test import test_
from kuik.commands.policy_why import why_


@click.group()
def policy() -> None:
    """See what policies do, before they do it."""


for command in (plan, why_, test_, lint, inventory):
    policy.add_command(command)
