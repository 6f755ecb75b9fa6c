"""The cluster that a command asks: the one that kubectl would, unless options say otherwise."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kube.types import Object

if TYPE_CHECKING:
    from kube.client import Api

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_NO_SUCH_KIND = re.compile(r"apis/kuik\.dev/\S+: 404$")


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --kubeconfig and --context."""
    command = click.option("--context", metavar="NAME", help="The kubeconfig's context; by default its current one.")(
        command
    )
    return click.option(
        "--kubeconfig", type=click.Path(dir_okay=False), help="The cluster's kubeconfig; by default as kubectl does."
    )(command)


@contextmanager
def cluster(kubeconfig: str | None, context: str | None, *, otherwise: str = "") -> Iterator["Api"]:
    """The API server; what it refuses, or that there is none, ends the command with words.

    `otherwise` says what a person may have meant instead where there is no cluster to ask.
    """
    from kube.client import Api, KubernetesError  # late: 44 MiB that other commands do not need

    try:
        api = Api.from_kubeconfig(kubeconfig, context)
    except KubernetesError as error:
        raise click.ClickException(f"{error}{f'; {otherwise}' if otherwise else ''}") from error
    try:
        yield api
    except KubernetesError as error:
        if _NO_SUCH_KIND.search(str(error)):
            elsewhere = f", or {otherwise}" if otherwise else ""
            raise click.ClickException(
                f"kuik is not installed in this cluster: install it, name another with --context{elsewhere} ({error})"
            ) from error
        raise click.ClickException(str(error)) from error


def listed(api: "Api", kind: str, namespace: str = "", query: Mapping[str, str] | None = None) -> list[Object]:
    """All objects of a kind, each with its kind and version, which lists leave out; raises KubernetesError."""
    from kube.paths import KINDS

    found = KINDS[kind]
    named = {"apiVersion": found.api_version, "kind": kind}
    return [{**named, **item} for item in api.items(found.collection(namespace), query)]
