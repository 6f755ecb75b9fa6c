"""`kuik completion`: the script that makes a shell complete kuik's commands."""

import click
from click.shell_completion import get_completion_class


@click.command(epilog='Example: eval "$(kuik completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL."""
    from kuik.__main__ import main  # late: the whole of which this is a part

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows the three shells that the argument allows
    click.echo(found(main, {}, "kuik", "_KUIK_COMPLETE").source())
