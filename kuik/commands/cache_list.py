"""`kuik cache list`: what is kept, and how well."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from hooks.volumes import noted
from kuik.commands.cluster import cluster, cluster_options
from kuik.commands.held import OTHERWISE, in_cluster, open_store
from kuik.commands.options import other_store_option
from kuik.commands.output import output_option, plain_table, show
from kuik.local.store import Held, held

_COLUMNS = ("IMAGE", "PHASE", "SIZE", "USED-BY", "AGE", "REASON")


@click.command(
    "list",
    epilog="""\b
Examples:
  kuik cache list                        of the cluster that kubectl asks
  kuik cache list --store ~/images -o json""",
)
@other_store_option
@cluster_options
@output_option
def list_(store: Path | None, kubeconfig: str | None, context: str | None, output: str) -> None:
    """List the images that are kept: those of the cluster, or of a store on disk."""
    if store is not None:
        found = held(open_store(store))
    else:
        with cluster(kubeconfig, context, otherwise=OTHERWISE) as api:
            found = in_cluster(api)
    now = datetime.now(UTC)
    show([_row(one) for one in found], output, lambda: plain_table(_COLUMNS, (_columns(one, now) for one in found)))


def _row(one: Held) -> dict[str, Any]:
    spec = (one.cached_image or {}).get("spec", {})
    digest = one.status.get("digest") or (str(one.descriptor.digest) if one.descriptor else None)
    replicas = [{"volume": each.volume, "state": each.state} for each in noted(one.cached_image or {})]
    return {
        "image": one.image,
        "phase": one.phase,
        "digest": digest,
        "size": one.status.get("size"),
        "usedBy": list(one.used_by),
        "unusedSince": spec.get("unusedSince"),
        "retain": spec.get("retain") is True,
        "reason": one.status.get("reason"),
        "message": one.status.get("message"),
        **({"replicas": replicas} if replicas else {}),
    }


def _columns(one: Held, now: datetime) -> tuple[str, ...]:
    size = one.status.get("size")
    created = (one.cached_image or {}).get("metadata", {}).get("creationTimestamp")
    count = max((one.cached_image or {}).get("spec", {}).get("users") or 0, len(one.used_by))
    users = (one.used_by[0] if one.used_by else "") + (f" +{count - 1}" if count > 1 else "")
    return (
        one.image,
        one.phase,
        decimal(int(size)) if size is not None else "-",
        users or "-",
        _age(created, now) if created else "-",
        str(one.status.get("reason") or "-"),
    )


def _age(created: str, now: datetime) -> str:
    """An age as kubectl prints it."""
    seconds = int((now - datetime.fromisoformat(created)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"
