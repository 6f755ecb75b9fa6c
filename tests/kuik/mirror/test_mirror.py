"""`python -m kuik.mirror` on folders as nodes have them."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kuik.mirror import folders
from kuik.mirror.__main__ import main
from kuik.mirror.hosts_file import with_mirror
from tests.rig.processes import wait_until

PROXY = "http://127.0.0.1:7439"
OURS = with_mirror("", PROXY)
VERSION_2 = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{}"\n'
VERSION_3 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '{}'\n"


def node(root: Path, config: str | None, files: dict[str, str] | None = None) -> Path:
    """A node's file system: containerd's configuration, and files below /etc/containerd."""
    etc = root / "etc" / "containerd"
    etc.mkdir(parents=True)
    for name, text in {**({"config.toml": config} if config is not None else {}), **(files or {})}.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_bytes(text.encode())
    return etc


def run(command: str, root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [command, "--root", str(root), *options])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", [VERSION_2, VERSION_3, '[plugins.cri.registry]\nconfig_path = "{}"\n'])
def test_the_default_is_made_where_containerd_looks_and_goes_away_again(tmp_path: Path, form: str) -> None:
    etc = node(tmp_path, form.format("/etc/containerd/certs.d"))
    before = tree(etc)
    for _ in range(2):
        done = run("write", tmp_path)
        assert done.exit_code == 0, done.stderr
        assert tree(etc) == {**before, "certs.d/_default/hosts.toml": OURS.encode()}
    assert "as it should be" in done.stderr
    assert run("remove", tmp_path).exit_code == 0
    assert tree(etc) == before
    assert not (etc / "certs.d" / "_default").exists()
    assert run("remove", tmp_path).exit_code == 0, "there is nothing to remove twice"


def test_others_files_get_the_proxy_and_what_cannot_is_told(tmp_path: Path) -> None:
    files = {
        "certs.d/registry.example_5000_/hosts.toml": 'server = "https://registry.example:5000"\n[host."https://m"]\n',
        "certs.d/_default/hosts.toml": '[host."https://mirror.example"]\n',
        "certs.d/docker.example/ca.crt": "a certificate in docker's way",
        "certs.d/broken.example/hosts.toml": "server = ",
        "certs.d/localhost:5000/hosts.toml": 'server = "http://localhost:5000"\n',
        "certs.d/127.0.0.1_5000_/hosts.toml": 'server = "http://127.0.0.1:5000"\n',
    }
    etc = node(tmp_path, VERSION_2.format("/etc/containerd/certs.d"), files)
    (etc / "certs.d/registry.example_5000_/hosts.toml").chmod(0o640)
    before = tree(etc)
    done = run("write", tmp_path)
    assert done.exit_code == 0
    changed = {name for name, content in tree(etc).items() if content != before.get(name)}
    assert changed == {"certs.d/registry.example_5000_/hosts.toml", "certs.d/_default/hosts.toml"}
    assert (etc / "certs.d/registry.example_5000_/hosts.toml").stat().st_mode & 0o777 == 0o640
    assert "docker.example/hosts.toml: there is none" in done.stderr
    assert "broken.example/hosts.toml: left as it is: it is not valid TOML" in done.stderr
    assert run("remove", tmp_path).exit_code == 0
    assert tree(etc) == before


def test_of_several_folders_the_last_gets_the_default_which_so_hides_nothing(tmp_path: Path) -> None:
    config = VERSION_3.format("/etc/containerd/certs.d:/etc/docker/certs.d")
    etc = node(tmp_path, config)
    (tmp_path / "etc/docker/certs.d").mkdir(parents=True)
    assert run("write", tmp_path).exit_code == 0
    assert (tmp_path / "etc/docker/certs.d/_default/hosts.toml").read_text() == OURS
    assert not (etc / "certs.d").exists()


def test_an_import_of_the_configuration_counts(tmp_path: Path) -> None:
    config = 'imports = ["/etc/containerd/conf.d/*.toml"]\n' + VERSION_3.format("/nowhere")
    etc = node(tmp_path, config, {"conf.d/kuik.toml": VERSION_3.format("/etc/containerd/hosts.d")})
    assert run("write", tmp_path).exit_code == 0
    assert (etc / "hosts.d/_default/hosts.toml").read_text() == OURS


@pytest.mark.parametrize("config", ["version = 2\n", VERSION_3.format(""), None])
def test_without_a_config_path_nothing_is_written_and_the_advice_names_the_setting(
    tmp_path: Path, config: str | None
) -> None:
    etc = node(tmp_path, config)
    done = run("write", tmp_path)
    assert done.exit_code == 1
    assert "go on as without it" in done.stderr
    assert 'config_path = "/etc/containerd/certs.d"' in done.stderr
    assert "/etc/containerd/config.toml" in done.stderr
    assert tree(etc).keys() == ({"config.toml"} if config is not None else set())


def test_a_folder_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    node(tmp_path, VERSION_2.format("/var/lib/rancher/certs.d"))
    done = run("write", tmp_path)
    assert done.exit_code == 1
    assert "mounted" in done.stderr


def test_hold_takes_it_out_when_it_is_told_to_stop(tmp_path: Path) -> None:
    etc = node(tmp_path, VERSION_2.format("/etc/containerd/certs.d"))
    words = [sys.executable, "-m", "kuik.mirror", "hold", "--root", str(tmp_path)]
    process = subprocess.Popen(words)
    default = etc / "certs.d/_default/hosts.toml"
    try:
        wait_until(default.exists, "it is written", 30)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
    assert not default.parent.exists()


def test_hold_leaves_it_to_a_proxy_that_has_taken_over(tmp_path: Path) -> None:
    etc = node(tmp_path, VERSION_2.format("/etc/containerd/certs.d"))
    words = [sys.executable, "-m", "kuik.mirror", "hold", "--root", str(tmp_path), "--lock", str(tmp_path / "lock")]
    default = etc / "certs.d/_default/hosts.toml"
    said = [(tmp_path / f"said-{number}").open("w+") for number in (0, 1)]
    old, new = (subprocess.Popen(words, stderr=file) for file in said)
    try:
        wait_until(lambda: all("hosts.toml" in Path(file.name).read_text() for file in said), "both have written", 30)
        os.kill(old.pid, signal.SIGTERM)
        assert old.wait(10) == 0
        assert default.exists()
        assert "another proxy has taken over" in Path(said[0].name).read_text()
    finally:
        os.kill(new.pid, signal.SIGTERM)
        assert new.wait(10) == 0
        old.kill()
    assert not default.parent.exists()


def test_proxies_that_begin_and_end_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    roots = [tmp_path / "certs.d"]

    def once(number: int) -> None:
        for _ in range(20):
            folders.write(roots, f"http://127.0.0.1:{7000 + number}")
            folders.remove(roots)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(4)))
    assert not (roots[0] / "_default").exists()
