"""`kuik cache`: what is kept, the explicit ways to make it less, and its way over an air gap."""

import click

from kuik.commands.late import LateGroup


@click.group(
    cls=LateGroup,
    late={
        "list": "kuik.commands.cache_list:list_",
        "verify": "kuik.commands.cache_verify:verify",
        "remove": "kuik.commands.cache_remove:remove",
        "gc": "kuik.commands.cache_gc:gc",
        "export": "kuik.commands.cache_export:export",
        "import": "kuik.commands.cache_import:import_",
    },
)
def cache() -> None:
    """See and clean up the images that are kept, and carry them over an air gap."""
