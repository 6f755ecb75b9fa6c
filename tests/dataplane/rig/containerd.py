"""A real containerd with folders and sockets of its own, asked by its own `ctr`, or as kubelet asks it, by `crictl`.

It needs root, and leaves nothing.

Debian's is 1.6; the one that `tests/rig/build` made is 2. Images are pulled and unpacked by the native snapshotter,
which mounts nothing for longer than it takes.
"""

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.built import cache, program
from tests.rig.processes import find, stop, wait_until

VERSIONS = ("1.6", "2.1")
_CONFIG = """\
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "native"
"""
_FOR_KUBELET = {
    "1.6": """\
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{folder}/certs.d"
""",
    "2.1": """\
version = 3
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{folder}/certs.d"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "native"
""",
}
_PLACES = """\
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/t.sock"
"""


@dataclass
class Containerd:
    """`hosts` is the folder of hosts.toml files that its pulls look into.

    Each `pull` knows nothing of those before. With `for_kubelet` it serves the CRI, by which kubelet pulls.
    """

    version: str
    for_kubelet: bool = False
    pulls: int = 0
    folder: Path = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def hosts(self) -> Path:
        return self.folder / "certs.d"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="kuik-"))  # a socket's path has room for 108 characters
        self.hosts.mkdir()
        text = (_FOR_KUBELET[self.version] if self.for_kubelet else _CONFIG) + _PLACES
        self.config.write_text(text.format(folder=self.folder))
        places = ["--root", str(self.folder / "root"), "--state", str(self.folder / "state")]
        with (self.folder / "containerd.log").open("ab") as log:
            command = [self._program("containerd"), "--config", str(self.config), *places]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(lambda: self._ctr("version").returncode == 0, f"containerd {self.version} answers", 30)
        except AssertionError as error:
            self.__exit__(None, None, None)
            raise AssertionError(f"{error}\n{(self.folder / 'containerd.log').read_text()[-2000:]}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process:
            stop(self._process)
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in reversed([place for place in mounted if Path(place).is_relative_to(self.folder)]):
            subprocess.run(["umount", "-l", place], check=True)
        shutil.rmtree(self.folder)

    def pull(self, image: str, *options: str) -> str:
        """Pull an image as kubelet would have it pulled; returns the digest that containerd keeps it under."""
        done = self.try_pull(image, *options)
        assert done.returncode == 0, f"{image}: {done.stdout}{done.stderr}"
        listed = self._ctr("images", "ls", f"name=={image}").stdout.splitlines()
        return next(word for word in listed[1].split() if word.startswith("sha256:"))

    def try_pull(self, image: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """Pull an image into a namespace of its own, whatever comes of it."""
        self.pulls += 1
        words = ("--hosts-dir", str(self.hosts), "--snapshotter", "native", *options)
        return self._ctr("images", "pull", *words, image)

    def kubelet_pulls(self, image: str, *options: str) -> str:
        """Pull an image by the CRI; its name with the digest, as a pod's status shows it, or what went wrong."""
        endpoint = f"unix://{self.folder}/c.sock"
        command = [program("crictl"), "--timeout", "50s", "--runtime-endpoint", endpoint, "--image-endpoint", endpoint]
        done = subprocess.run(
            [*command, "pull", *options, image], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            return done.stderr
        shown = subprocess.run(
            [*command, "inspecti", "--output", "json", image], capture_output=True, text=True, timeout=60, check=True
        )
        (name,) = json.loads(shown.stdout)["status"]["repoDigests"]
        return str(name)

    def _ctr(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [
            self._program("ctr"),
            "--address",
            f"{self.folder}/c.sock",
            "--namespace",
            f"pull-{self.pulls}",
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def _program(self, name: str) -> str:
        path = find(name) if self.version == "1.6" else str(cache() / "containerd2" / name)
        assert path, f"{name} is not installed: tests need Debian's package containerd, or one of its version"
        return path
