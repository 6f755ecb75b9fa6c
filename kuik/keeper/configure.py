"""`python -m kuik.keeper.configure`: writes what the registry's processes read at their start, tokens and all.

The tokens are made in the cluster, once, and so are known to nobody who renders a manifest: an init container writes
the files into a volume in memory that only its own pod has.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

import click

from kuik import __version__
from kuik.keeper import distribution
from kuik.keeper.distribution import USER, Filesystem, Listener, ObjectStorage
from registry.durable import write_whole

WRITER_TOKEN, READER_TOKEN = "KUIK_REGISTRY_TOKEN", "KUIK_READER_TOKEN"
WRITER, READER = "writer", "reader"


@click.command(
    epilog="""\b
Example:
  KUIK_REGISTRY_TOKEN=... KUIK_READER_TOKEN=... \\
    python -m kuik.keeper.configure --to /etc/kuik --folder /var/lib/registry"""
)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the files go.")
@click.option("--only", type=click.Choice([WRITER, READER]), help="For one of the two alone; the other needs no token.")
@click.option("--folder", default="", help="Where images are kept: a folder on a volume.")
@click.option("--bucket", default="", help="Where images are kept: an S3 bucket.")
@click.option("--region", default="us-east-1", show_default=True, help="The bucket's.")
@click.option("--endpoint", default="", help="The object storage's URL, where it is not Amazon's.")
@click.option("--prefix", default="/", show_default=True, help="The folder in the bucket.")
@click.option("--redirect/--no-redirect", default=True, show_default=True, help="Whether nodes fetch blobs from it.")
@click.option("--writer", "writes", default=":5001", show_default=True, help="Where the writer listens.")
@click.option("--reader", "reads", default=":5000", show_default=True, help="Where readers listen.")
@click.option("--metrics", default="", help="Where readers tell their metrics; those of the writer are a port above.")
@click.version_option(__version__)
def main(  # noqa: PLR0913, PLR0917  one parameter for each option
    to: Path,
    only: str | None,
    folder: str,
    bucket: str,
    region: str,
    endpoint: str,
    prefix: str,
    redirect: bool,
    writes: str,
    reads: str,
    metrics: str,
) -> None:
    """Write writer.yaml and reader.yaml, the configurations of CNCF distribution, and a password file for each.

    KUIK_REGISTRY_TOKEN is the writer's token, KUIK_READER_TOKEN the readers'.
    """
    if bool(folder) == bool(bucket):
        raise click.UsageError("say where images are kept: either --folder or --bucket")
    storage = ObjectStorage(bucket, region, endpoint, prefix, redirect) if bucket else Filesystem(folder)
    listeners = {
        WRITER: Listener(writes, str(to / "writer.passwords"), _above(metrics)),
        READER: Listener(reads, str(to / "reader.passwords"), metrics),
    }
    tokens = {WRITER: os.environ.get(WRITER_TOKEN, ""), READER: os.environ.get(READER_TOKEN, "")}
    os.umask(0o077)  # what opens the registry is for its own processes
    to.mkdir(parents=True, exist_ok=True)
    for role in [only] if only else [WRITER, READER]:
        try:
            made = files(role, storage, listeners[role], tokens[role])
        except ValueError as error:
            raise click.UsageError(f"{WRITER_TOKEN if role == WRITER else READER_TOKEN}: {error}") from error
        for name, text in made.items():
            write_whole(to / name, text.encode())


def files(role: str, storage: Filesystem | ObjectStorage, listener: Listener, token: str) -> Mapping[str, str]:
    """What the files of `writer` or `reader` hold, by their names; raises ValueError for a token that will not do."""
    passwords = distribution.passwords({USER: token})
    document = (distribution.writer if role == WRITER else distribution.reader)(storage, listener)
    if role == WRITER:
        # Signs the state of uploads: the same after each of the writer's restarts, so that they go on.
        document["http"]["secret"] = hmac.new(token.encode(), b"state of uploads", hashlib.sha256).hexdigest()
    return {f"{role}.yaml": distribution.text(document), f"{role}.passwords": passwords}


def _above(address: str) -> str:
    """`host:port` with the next port."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1}" if address else ""


if __name__ == "__main__":
    main(prog_name="python -m kuik.keeper.configure")
