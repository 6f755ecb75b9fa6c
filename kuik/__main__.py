"""The command line: `python -m kuik`, also installed as `kuik` and `kubectl-kuik`."""

import click

from kuik import __version__
from kuik.commands.cache import cache
from kuik.commands.check import check
from kuik.commands.completion import completion
from kuik.commands.demo import demo
from kuik.commands.doctor import doctor
from kuik.commands.pods import pods
from kuik.commands.policy import policy
from kuik.commands.registry import registry
from kuik.commands.report import report_
from kuik.commands.run import run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kuik")
def main() -> None:
    """Keep every image that a cluster runs available, whatever happens to the registry it came from.

    \b
    Start here:
      kuik demo                                    the whole story, offline, in under a minute
      kuik run deploy/ --store ~/images            cache what these manifests use, and serve it
      kuik cache list --store ~/images             what is kept, and how well
    """


for command in (run, cache, report_, check, policy, pods, doctor, registry, demo, completion):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="kuik")
