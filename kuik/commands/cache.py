"""`kuik cache`: what is kept, the explicit ways to make it less, and its way over an air gap."""

import click

from kuik.commands.cache_export import export
from kuik.commands.cache_gc import gc
from kuik.commands.cache_import import import_
from kuik.commands.cache_list import list_
from kuik.commands.cache_remove import remove
from kuik.commands.cache_verify import verify


@click.group()
def cache() -> None:
    """See and clean up the images that are kept, and carry them over an air gap."""


for command in (list_, verify, remove, gc, export, import_):
    cache.add_command(command)
