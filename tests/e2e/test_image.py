"""Our image: what it says of itself, and that each component runs from it as nobody, on a root that it cannot write."""

import json
import os

from tests.e2e.rig.install import NAMESPACE, Installed

INSPECTED = "KUIK_E2E_IMAGE"
"""The variable with the image's configuration, which was built before the sandbox was entered."""


def test_it_says_what_it_is() -> None:
    """The image that the Dockerfile builds says what it is, by OCI annotations."""
    config = json.loads(os.environ[INSPECTED])["config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "kube-image-keeper"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == "e2e"
    assert {"description", "revision"} <= labels.keys()
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["python", "-m"]


def test_every_component_runs_as_nobody_with_a_read_only_root(kuik: Installed) -> None:
    """Every component runs as user 65532 without capabilities, on a root that it cannot write, as the kernel says."""
    ours = [pod for pod in kuik.get("pods", "-n", NAMESPACE) if pod["status"]["phase"] == "Running"]
    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in ours}
    assert {"hooks", "proxy", "shield", "registry"} <= components
    for pod in ours:
        for container in pod["spec"]["containers"]:
            where = f"{pod['metadata']['name']}/{container['name']}"
            assert container["securityContext"]["readOnlyRootFilesystem"], where
            status = kuik.cluster.named(pod["spec"]["nodeName"]).process_of(pod, container["name"])
            assert status["Uid"].split()[0] == "65532", where
            assert int(status["CapEff"], 16) == 0, where
            assert status["NoNewPrivs"] == "1", where
