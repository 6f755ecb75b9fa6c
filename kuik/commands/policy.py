"""`kuik policy`: what policies do, before they do it."""

import click

from kuik.commands.policy_inventory import inventory
from kuik.commands.policy_plan import plan


@click.group()
def policy() -> None:
    """See what policies do, before they do it."""


for command in (plan, inventory):
    policy.add_command(command)
