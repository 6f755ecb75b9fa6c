"""`kuik pods`: what admission makes of pods, and the way back."""

import click

from kuik.commands.late import LateGroup


@click.group(
    cls=LateGroup,
    late={
        "rewrite": "kuik.commands.pods_rewrite:rewrite",
        "audit": "kuik.commands.audit:audit",
        "revert": "kuik.commands.revert:revert",
    },
)
def pods() -> None:
    """Look at pods as admission does, and give them their own images back."""
