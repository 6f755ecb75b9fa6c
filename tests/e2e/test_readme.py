"""README as a new user follows it: its commands are typed from the page, so that page and product cannot part.

Its first part, the installation, is what installs kuik for all scenarios (rig/install.py), and its last is the way out
(test_z_leaving.py).
"""

from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed
from tests.e2e.rig.readme import Command, page, parts
from tests.e2e.rig.workload import Workloads


def test_the_readme_leads_from_the_first_image_to_the_last(kuik: Installed, pods: Workloads) -> None:
    """README, command by command: the first image cached, upstream down, a pod left out, an image removed."""
    upstream, shell, down = kuik.cluster.upstreams["docker.io"], kuik.shell(), False
    for name in ("nginx", "busybox"):
        upstream.push(runnable(f"readme-{name}"), f"library/{name}", "latest")
    try:
        for step in parts(page())["use"]:
            if isinstance(step, Command):
                shell.type(step)
                continue
            assert step == ("upstream is back" if down else "upstream is down")
            down = not down
            if down:
                upstream.stop()
            else:
                upstream.start()
    finally:
        if down:
            upstream.start()
    assert not down
    assert pods.labelled("app=web") == []
