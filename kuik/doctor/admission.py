"""Whether pods would be let through with the proxy's names, and whether the API server reaches admission."""

import base64
import binascii
from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509

from hooks.admission import LEFT, WOULD
from hooks.containers import ORIGINALS
from hooks.webhook import OFF, ON, bundle_of
from kube.types import annotations, part
from kuik.doctor.cluster import Cluster, Try, Unseen
from kuik.doctor.finding import Finding, Level

_SOON = timedelta(days=7)
_REACH = (
    "let the control plane reach port 10250 of the nodes or pods (firewall, NetworkPolicy), see that pods of "
    "Deployment kuik-hooks are ready, and read the API server's log for kuik.dev"
)


def names(cluster: Cluster) -> Iterator[Finding]:
    """Whether something in the cluster refuses images of the node proxy."""
    tries = cluster.tries
    usual, proxied = tries.usual, tries.proxied
    if isinstance(proxied, Unseen):
        yield Finding("names", Level.UNKNOWN, f"no pod could be tried in namespace {tries.namespace}: {proxied.why}")
    elif proxied.pod is not None:
        yield Finding("names", Level.OK, f"namespace {tries.namespace} takes pods with images of localhost:7439")
    elif isinstance(usual, Try) and usual.pod is None:
        yield Finding(
            "names",
            Level.UNKNOWN,
            f"namespace {tries.namespace} refuses any pod of this test: {usual.refusal}",
            "try another namespace with --namespace",
        )
    else:
        yield Finding(
            "names",
            Level.FAIL,
            f"pods with images of localhost:7439 are refused in namespace {tries.namespace}: {proxied.refusal}",
            "allow images that begin with localhost:7439/ there, or use `delivery: Mirror`, which changes no pod",
        )


def host_network(cluster: Cluster) -> Iterator[Finding]:
    """Whether the node proxy's pods are let into kuik's namespace."""
    tried = cluster.tries.host
    if isinstance(tried, Unseen):
        yield Finding("host-network", Level.UNKNOWN, f"no pod could be tried in {cluster.namespace}: {tried.why}")
    elif tried.pod is None:
        yield Finding(
            "host-network",
            Level.FAIL,
            f"namespace {cluster.namespace} refuses pods that share their node's network: {tried.refusal}",
            f"kubectl label namespace {cluster.namespace} pod-security.kubernetes.io/enforce=privileged --overwrite",
        )
    else:
        yield Finding("host-network", Level.OK, f"namespace {cluster.namespace} takes the node proxy's pods")


def reached(cluster: Cluster) -> Iterator[Finding]:
    """Whether the API server asks admission about new pods and gets an answer."""
    if cluster.webhook is None:
        yield from _no_webhook(cluster)
        return
    if isinstance(cluster.webhook, Unseen):
        yield Finding("webhook", Level.UNKNOWN, f"the webhook cannot be read: {cluster.webhook.why}")
        return
    tried, called = cluster.tries.cached, cluster.tries.called
    if tried is None:
        yield Finding("webhook", Level.UNKNOWN, "no public image is cached yet to try it with", "try again later")
    elif isinstance(tried, Unseen):
        yield Finding("webhook", Level.UNKNOWN, f"no pod could be tried: {tried.why}")
    elif tried.pod is None:
        yield Finding("webhook", Level.UNKNOWN, f"the pod to try it with was refused: {tried.refusal}")
    elif annotations(tried.pod).keys() & {ORIGINALS, WOULD, LEFT}:
        yield Finding("webhook", Level.OK, "the API server asks admission about new pods, and is answered")
    elif called is True:
        yield Finding(
            "webhook",
            Level.WARN,
            f"admission was asked and left a pod of namespace {cluster.tries.namespace} alone",
            "kuik policy why tells which rule leaves its images alone; while too few node proxies are ready, all are",
        )
    elif called is False:
        yield Finding("webhook", Level.FAIL, "the API server never reaches admission: pods keep their images", _REACH)
    else:
        yield Finding(
            "webhook", Level.WARN, f"a pod was not changed, and whether admission was asked is unknown: {called.why}"
        )


def certificates(cluster: Cluster) -> Iterator[Finding]:
    """Whether what admission serves is valid now, and trusted by the webhook's bundle."""
    if cluster.webhook is None or isinstance(cluster.webhook, Unseen):
        return
    try:
        bundle = x509.load_pem_x509_certificates(base64.b64decode(bundle_of(cluster.webhook), validate=True))
    except (ValueError, binascii.Error):
        yield Finding("certificate", Level.FAIL, "the webhook's CA bundle cannot be read", _renew(cluster.namespace))
        return
    if isinstance(cluster.certificate, Unseen):
        yield Finding("certificate", Level.UNKNOWN, f"what admission serves is unknown: {cluster.certificate.why}")
        return
    try:
        served = x509.load_pem_x509_certificates(cluster.certificate.encode())[0]
    except ValueError:
        yield Finding("certificate", Level.FAIL, "admission's certificate cannot be read", _renew(cluster.namespace))
        return
    until = served.not_valid_after_utc
    if not served.not_valid_before_utc <= cluster.now < until:
        what = f"admission's certificate is valid from {served.not_valid_before_utc:%F %T} to {until:%F %T} UTC"
        yield Finding("certificate", Level.FAIL, f"{what}, and it is {cluster.now:%F %T}", _renew(cluster.namespace))
    elif served.issuer not in [one.subject for one in bundle]:
        what = "the webhook's CA bundle does not name who signed admission's certificate"
        yield Finding("certificate", Level.FAIL, what, _renew(cluster.namespace))
    elif until - cluster.now < _SOON:
        what = f"admission's certificate ends on {until:%F}, and was not renewed in time"
        yield Finding(
            "certificate", Level.WARN, what, f"kubectl logs -n {cluster.namespace} deploy/kuik-hooks -c admission"
        )
    else:
        yield Finding("certificate", Level.OK, f"admission's certificate is valid until {until:%F}")


def _no_webhook(cluster: Cluster) -> Iterator[Finding]:
    cache = cluster.image_cache
    if not cluster.installed or cache is None or isinstance(cache, Unseen):
        return
    spec = part(cache, "spec")
    if spec.get("mode", ON) == OFF:
        yield Finding("webhook", Level.OK, "the mode is Off: no pod is rewritten, and no webhook is registered")
    elif spec.get("delivery") == "Mirror":
        yield Finding("webhook", Level.OK, "the delivery is Mirror: no pod is rewritten, and no webhook is registered")
    else:
        yield Finding(
            "webhook",
            Level.FAIL,
            "no webhook is registered, though the mode asks for one",
            "kubectl describe imagecache default: condition Rewriting says why",
        )


def _renew(namespace: str) -> str:
    return (
        f"kubectl delete secret -n {namespace} kuik-admission-tls && "
        f"kubectl rollout restart -n {namespace} deploy/kuik-hooks: both are made anew"
    )
