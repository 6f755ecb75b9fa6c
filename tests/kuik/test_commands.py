"""The command line as a whole: help with examples, completion, the demo."""

import pytest
from click.testing import CliRunner

from kuik.__main__ import main
from tests.rig.kuik import kuik

COMMANDS = (
    ("run",),
    ("cache", "list"),
    ("cache", "remove"),
    ("cache", "gc"),
    ("cache", "export"),
    ("cache", "import"),
    ("report",),
    ("check",),
    ("policy", "plan"),
    ("policy", "why"),
    ("policy", "lint"),
    ("policy", "test"),
    ("policy", "inventory"),
    ("pods", "rewrite"),
    ("demo",),
    ("completion",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*command, "--help"], prog_name="kuik")
    assert done.exit_code == 0
    assert f"kuik {' '.join(command)}" in done.output


def test_help_of_the_whole_lists_every_command() -> None:
    text = kuik("--help").stdout
    assert all(command[0] in text for command in COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = kuik("completion", shell)
    assert done.returncode == 0
    assert "_KUIK_COMPLETE" in done.stdout


def test_the_demo_is_as_told() -> None:
    done = kuik("demo", timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1]), done.stdout
    assert lines[-1].startswith("all as told")
