"""All that is looked at, in the order in which a person would."""

from collections.abc import Iterator

from kuik.doctor import admission, controllers, nodes, own_image
from kuik.doctor import runtimes as runtime
from kuik.doctor.cluster import Cluster
from kuik.doctor.finding import Finding

CHECKS = (
    controllers.metacontroller,
    controllers.kinds,
    own_image.own_image,
    admission.names,
    admission.host_network,
    nodes.proxies,
    runtime.runtimes,
    admission.reached,
    admission.certificates,
    nodes.clocks,
    controllers.cache,
)


def diagnose(cluster: Cluster) -> Iterator[Finding]:
    """What was found, whether it is well or not."""
    for check in CHECKS:
        yield from check(cluster)
