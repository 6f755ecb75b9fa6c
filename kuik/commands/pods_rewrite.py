"""`kuik pods rewrite`: what admission would make of pods."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hooks.facts import Settings
from hooks.rewrite import Rules, everything_public, plan, rewrite_pod
from hooks.shape import misshapen
from kube.types import Object, metadata
from kuik.commands.options import plain_http_option
from kuik.local.documents import ManifestError, documents, written
from kuik.local.policies import Rulings
from kuik.local.templates import with_pods


@click.command(
    epilog="""\b
Examples:
  kuik pods rewrite deployment.yaml
  helm template my-release my-chart | kuik pods rewrite - | kubectl apply -f -"""
)
@click.argument("file", metavar="FILE|-")
@plain_http_option
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), help="By default as FILE is.")
def rewrite(file: str, plain_http: frozenset[str], output: str | None) -> None:
    """Print manifests as admission would make them if every image were public.

    Images of containers and init containers get their names at the node proxy; the originals are kept in an
    annotation. ClusterCachePolicies, CachePolicies and Namespaces in FILE count. What is left alone, and why, is said
    on standard error.
    """
    text = sys.stdin.read() if file == "-" else _read(Path(file))
    origin = "standard input" if file == "-" else file
    try:
        found = [document for document in documents(text, origin) if document]
        rulings = Rulings.read(found, origin)
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    usual = Rules(Settings(plain_http=plain_http), everything_public)

    def rewritten(pod: Object, manifest: Object) -> Object:
        why = misshapen({"pod": pod}, ("pod", "spec"))
        if why:
            click.echo(f"left as it is: {manifest.get('kind')} {metadata(manifest).get('name')}: {why}", err=True)
            return pod
        namespace, policy = rulings.about(pod, manifest)
        return _rewritten(pod, replace(usual, namespace=namespace, policy=policy))

    changed = [with_pods(one, rewritten) if isinstance(one, dict) else one for one in found]
    _print(changed, output or ("json" if text.lstrip()[:1] == "{" else "yaml"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _rewritten(pod: Object, rules: Rules) -> Object:
    for left in plan(pod, rules).left:
        click.echo(f"left alone: {left.container}: {left.image}: {left.why.message}", err=True)
    return rewrite_pod(pod, rules)


def _print(changed: list[Any], output: str) -> None:
    if output == "yaml":
        click.echo(written(changed), nl=False)
        return
    whole = changed[0] if len(changed) == 1 else {"apiVersion": "v1", "kind": "List", "items": changed}
    click.echo(json.dumps(whole, indent=2))
