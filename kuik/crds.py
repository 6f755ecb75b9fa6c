"""`python -m kuik.crds`: brings kuik's kinds up to this release, as its chart does before each upgrade.

helm makes what is in a chart's crds/ folder once and never changes it: without this an upgrade would leave the API
server with the kinds of the release that was installed first.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import click
import yaml

from kube.client import Api, KubernetesError
from kube.types import entries, metadata, part
from kuik import __version__

APPLY = "application/apply-patch+yaml"
OWNER = "kube-image-keeper"
_COLLECTION = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERVED_WITHIN = 60.0
_AGAIN = 0.5


@click.command()
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="How to reach the cluster from outside of it.")
@click.version_option(__version__)
def main(kubeconfig: str | None) -> None:
    """Apply the CustomResourceDefinitions that this release knows, and wait until they are served."""
    try:
        api = Api.from_kubeconfig(kubeconfig) if kubeconfig else Api.in_cluster()
        for name in apply(api):
            click.echo(f"{name}: as this release has it")
    except KubernetesError as error:
        raise click.ClickException(str(error)) from error


def ours() -> Iterator[Mapping[str, Any]]:
    """The definitions of this release, by name."""
    for entry in sorted((files("metacontroller") / "crds").iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".yaml"):
            yield yaml.safe_load(entry.read_text())


def apply(
    api: Api, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Apply each definition, and yield its name once it is served; raises KubernetesError.

    The list of versions is replaced as a whole, whoever wrote it before; labels and annotations of others stay.
    """
    for definition in ours():
        name = metadata(definition)["name"]
        path = f"{_COLLECTION}/{name}"
        api.patch(f"{path}?fieldManager={OWNER}&force=true", json.dumps(definition), APPLY)
        until = clock() + _SERVED_WITHIN
        while trouble := _trouble(api.get(path)):
            if clock() > until:
                raise KubernetesError(f"{name} is not served after {_SERVED_WITHIN:.0f} s: {trouble}")
            sleep(_AGAIN)
        yield name


def _trouble(definition: Mapping[str, Any]) -> str:
    """Why the kind is not served as it is written; empty where it is."""
    said = {str(one.get("type")): one for one in entries(part(definition, "status"), "conditions")}
    if said.get("NamesAccepted", {}).get("status") == "False":
        return str(said["NamesAccepted"].get("message"))
    return "" if said.get("Established", {}).get("status") == "True" else "it is not established yet"


if __name__ == "__main__":
    main(prog_name="python -m kuik.crds")
