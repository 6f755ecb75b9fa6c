"""The command line: `python -m kuik`, also installed as `kuik` and `kubectl-kuik`."""

import click

from kuik import __version__
from kuik.commands.late import LateGroup


@click.group(
    cls=LateGroup,
    late={
        "run": "kuik.commands.run:run",
        "cache": "kuik.commands.cache:cache",
        "report": "kuik.commands.report:report_",
        "check": "kuik.commands.check:check",
        "drill": "kuik.commands.drill:drill",
        "policy": "kuik.commands.policy:policy",
        "pods": "kuik.commands.pods:pods",
        "doctor": "kuik.commands.doctor:doctor",
        "registry": "kuik.commands.registry:registry",
        "demo": "kuik.commands.demo:demo",
        "completion": "kuik.commands.completion:completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="kuik")
def main() -> None:
    """Keep every image that a cluster runs available, whatever happens to the registry it came from.

    \b
    Start here:
      kuik demo                                    the whole story, offline, in under a minute
      kuik run deploy/ --store ~/images            cache what these manifests use, and serve it
      kuik cache list --store ~/images             what is kept, and how well
    """


if __name__ == "__main__":
    main(prog_name="kuik")
