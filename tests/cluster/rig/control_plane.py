"""A real Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager; on loopback where it has no nodes."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.cluster.rig.api import Api
from tests.rig.built import program
from tests.rig.processes import free_port, stop, wait_until

ADMIN = "admin-of-the-rig"
DRIVER = "driver-of-the-rig"
"""Token and name of who calls kuik's stages and writes what they say."""

_USERS = f"""\
{ADMIN},admin,1,"system:masters"
controllers-of-the-rig,system:kube-controller-manager,2,"system:masters"
{DRIVER},{DRIVER},3,"system:masters"
"""
_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
%s  - {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
  - {level: None}
"""


@dataclass(frozen=True)
class ForNodes:
    """What a control plane with nodes has besides: where they reach it, their names, and how it shows itself to them.

    Node NAME's kubelet shows the token `kubelet-of-NAME`, kube-proxies `kube-proxy-of-the-rig`.
    """

    address: str
    names: Sequence[str]
    certificate: Path
    key: Path

    def users(self) -> str:
        """Who may ask, besides."""
        rows = [f'kubelet-of-{name},system:node:{name},node-{name},"system:nodes"' for name in self.names]
        parts = ("kube-proxy", "kube-scheduler")
        rows += [f'{part}-of-the-rig,system:{part},{part},"system:masters"' for part in parts]
        return "".join(f"{row}\n" for row in rows)

    def api_server(self) -> dict[str, str]:
        """Options of kube-apiserver."""
        return {
            "bind-address": self.address,
            "endpoint-reconciler-type": "lease",
            "enable-admission-plugins": "NodeRestriction",
            "kubelet-client-certificate": str(self.certificate),
            "kubelet-client-key": str(self.key),
            "kubelet-preferred-address-types": "InternalIP",
            # It has no kube-proxy beside it, and so calls webhooks by their pods' addresses.
            "enable-aggregator-routing": "true",
        }


_ACCOUNTS = '  - {level: Metadata, userGroups: ["system:serviceaccounts:kuik-system"]}\n'


@dataclass
class ControlPlane:
    """Processes whose data lives in `folder`. `start` returns when the API server is ready for every request.

    With `audited`, the API server notes every write, and by whom, in `audit`; with `accounts_audited` also what kuik's
    service accounts read. With `nodes` it has a scheduler too; with `egress`, an egress selector's configuration, it
    reaches Services as that says.
    """

    folder: Path
    audited: bool = False
    accounts_audited: bool = False
    nodes: ForNodes | None = None
    egress: Path | None = None
    api: Api = field(init=False)
    seconds: float = 0.0
    """How long the start took."""
    _processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self) -> Self:
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        address = self.nodes.address if self.nodes else "127.0.0.1"
        self.api = Api(free_port(), self.folder / "certs" / "apiserver.crt", ADMIN, address)
        try:
            self._start_api_server(self._start_etcd())
            self._start_controllers()
            if self.nodes:
                self._start_scheduler()
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - begun
        return self

    @property
    def audit(self) -> Path:
        """One JSON document a line."""
        return self.folder / "audit.log"

    def pid(self, name: str) -> int:
        """The process that `run` has started."""
        return self._processes[name].pid

    def runs(self, name: str) -> bool:
        """Whether a program that `run` has started still runs."""
        return name in self._processes and self._processes[name].poll() is None

    def end(self, name: str) -> None:
        """End one program that `run` has started."""
        stop(self._processes.pop(name))

    def stop(self) -> None:
        """End all processes, the controllers first and etcd last."""
        for process in reversed(self._processes.values()):
            stop(process)
        self._processes.clear()

    def run(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start a program beside the control plane; its output goes to `<name>.log`, its end comes with `stop`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._processes[name] = process
        return process

    def log(self, name: str) -> str:
        """What a program has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kubeconfig(self, name: str = "admin", token: str = ADMIN) -> Path:
        """A kubeconfig for a bearer token."""
        path = self.folder / f"{name}.kubeconfig"
        text = f"""\
apiVersion: v1
kind: Config
clusters: [{{name: rig, cluster: {{server: "{self.api.url}", certificate-authority: {self.api.authority}}}}}]
users: [{{name: user, user: {{token: "{token}"}}}}]
contexts: [{{name: rig, context: {{cluster: rig, user: user}}}}]
current-context: rig
"""
        if not path.exists() or path.read_text() != text:  # who reads it just now must not find it empty
            path.write_text(text)
        return path

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """What kubectl prints; fails the test, with kubectl's own words, when it does not succeed."""
        done = self.try_kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def try_kubectl(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None, patience: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run kubectl for `patience` seconds at most, whatever comes of it."""
        command = [program("kubectl"), f"--kubeconfig={kubeconfig or self.kubeconfig()}", *arguments]
        # Its caches of what the API server can do would outlive this API server and its port.
        environment = {**os.environ, "HOME": str(self.folder), "KUBECACHEDIR": str(self.folder / "kube-cache")}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environment, timeout=patience, check=False
        )

    def _start_etcd(self) -> str:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        options = {
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        self.run("etcd", [program("etcd"), *_flags(options), "--unsafe-no-fsync"])
        return client

    def _start_api_server(self, etcd: str) -> None:
        key = self.folder / "service-accounts.key"
        make = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        subprocess.run([*make, "-out", str(key)], check=True, capture_output=True)
        users = self.folder / "users.csv"
        users.write_text(_USERS + (self.nodes.users() if self.nodes else ""))
        options = {
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "secure-port": str(self.api.port),
            "cert-dir": str(self.folder / "certs"),
            "endpoint-reconciler-type": "none",
            "token-auth-file": str(users),
            "authorization-mode": "Node,RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(key),
            "service-account-signing-key-file": str(key),
            "service-cluster-ip-range": "10.96.0.0/16",
            "allow-privileged": "true",
        }
        if self.nodes:
            options |= self.nodes.api_server()
        if self.egress:
            options["egress-selector-config-file"] = str(self.egress)
        if self.audited or self.accounts_audited:
            policy = self.folder / "audit-policy.yaml"
            policy.write_text(_AUDIT % (_ACCOUNTS if self.accounts_audited else ""))
            options |= {"audit-policy-file": str(policy), "audit-log-path": str(self.audit)}
        self.run("kube-apiserver", [program("kube-apiserver"), *_flags(options)])
        wait_until(self._ready, "kube-apiserver is ready")

    def _ready(self) -> bool:
        assert self._processes["kube-apiserver"].poll() is None, self.log("kube-apiserver")[-2000:]
        try:
            return self.api.raw("GET", "readyz")[0] == 200
        except OSError:
            return False

    def _start_controllers(self) -> None:
        options = {
            "kubeconfig": str(self.kubeconfig("controllers", "controllers-of-the-rig")),
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(self.folder / "service-accounts.key"),
            "root-ca-file": str(self.api.authority),
            # Where no node is for a DaemonSet to run on, its status is the tests' to write.
            "controllers": "*" if self.nodes else "*,-daemonset-controller",
            # A node that falls silent is lost soon.
            "node-monitor-period": "1s",
            "node-monitor-grace-period": "4s",
            "kube-api-qps": "500",
            "kube-api-burst": "1000",
            "bind-address": "127.0.0.1",
            "secure-port": str(free_port()),
            "cert-dir": str(self.folder / "certs"),
        }
        self.run("kube-controller-manager", [program("kube-controller-manager"), *_flags(options)])
        wait_until(self._has_account, "the default service account is there")

    def _start_scheduler(self) -> None:
        options = {
            "kubeconfig": str(self.kubeconfig("kube-scheduler", "kube-scheduler-of-the-rig")),
            "leader-elect": "false",
            "bind-address": "127.0.0.1",
            "secure-port": str(free_port()),
            "cert-dir": str(self.folder / "certs"),
        }
        self.run("kube-scheduler", [program("kube-scheduler"), *_flags(options)])

    def _has_account(self) -> bool:
        return self.api.raw("GET", "api/v1/namespaces/default/serviceaccounts/default")[0] == 200


def _flags(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]
