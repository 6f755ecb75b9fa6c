"""`kuik cache gc`: space back from a store."""

from pathlib import Path

import click

from kuik.commands.held import collect, open_store
from kuik.commands.options import store_option


@click.command(epilog="Example: kuik cache gc --store ~/images")
@store_option(exists=True)
def gc(store: Path) -> None:
    """Delete the blobs that no image of the store needs any more. In a cluster the keeper does so by itself."""
    collect(open_store(store))
