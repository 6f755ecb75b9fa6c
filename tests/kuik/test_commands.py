"""The command line as a whole: help with examples, completion, the demo."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import click
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


def every(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that can be typed, with its words."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name in command.list_commands(click.Context(command)):
        inner = command.get_command(click.Context(command), name)
        assert inner is not None
        yield from every(inner, *words, name)


def test_whatever_asks_a_cluster_can_be_told_which() -> None:
    asked = 0
    for words, command in every(main):
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--kubeconfig" in options) == ("--context" in options), words
        asked += "--context" in options
    assert asked > 10


@pytest.mark.parametrize(
    "words", [("doctor",), ("pods", "audit"), ("pods", "revert"), ("policy", "lint", "--cluster", "policies")]
)
def test_a_context_that_is_not_there_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    config = tmp_path / "config"
    config.write_text("{apiVersion: v1, kind: Config, clusters: [], contexts: [], users: [], current-context: ''}")
    done = CliRunner().invoke(main, [*words, "--kubeconfig", str(config), "--context", "elsewhere"])
    assert done.exit_code == 1
    assert "elsewhere" in done.stderr
    assert "Traceback" not in done.stderr


class NoKinds(http.server.BaseHTTPRequestHandler):
    """An API server as it answers for kinds that it does not have."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"404 page not found\n")

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def without_kuik(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a cluster that has no kind of kuik's."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NoKinds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
    path = tmp_path / "config"
    path.write_text(json.dumps({**config, "users": [{"name": "c", "user": {}}], "current-context": "c"}))
    yield path
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", [("report",), ("cache", "list"), ("drill",), ("cache", "remove", "nginx")])
def test_a_cluster_without_kuik_is_told_of_in_words(without_kuik: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*words, "--kubeconfig", str(without_kuik)])
    assert done.exit_code == 1
    assert "kuik is not installed in this cluster" in done.stderr
    assert ("--store DIR" in done.stderr) == (words != ("drill",))


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
