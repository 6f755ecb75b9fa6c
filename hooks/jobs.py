"""Jobs as kuik makes them, and the copy Job that stage 3 asks for."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from hooks.attempts import ATTEMPT, INPUTS, Inputs
from hooks.facts import JobSettings
from kube.types import CACHE_LABEL, Object, metadata

_MAX_NAME = 63  # the Job's name becomes a label of its pods
_KEPT_SECONDS = 7200  # longer than any backoff: the times of a Job that ended tell when to try again
_CREDENTIALS = "registry-credentials"
_CREDENTIALS_FOLDER = "/etc/kuik/registry"
_GROUP = 65532
_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": "copy",
    "app.kubernetes.io/managed-by": "kube-image-keeper",
}
POD_LABELS = {**_LABELS, CACHE_LABEL: "false"}
"""The labels by which the pods of copy Jobs are known."""


def job_name(parent: str, attempt: int) -> str:
    """`copy-<name>-<attempt>`, cut to what a label holds; a name that must change keeps a hash of the whole."""
    room = _MAX_NAME - len(f"copy--{attempt}")
    if len(parent) > room or "." in parent:
        digits = hashlib.sha256(parent.encode()).hexdigest()[:8]
        parent = f"{parent[: room - 9].replace('.', '-').rstrip('-')}-{digits}"
    return f"copy-{parent}-{attempt}"


def copy_job(  # noqa: PLR0913 - what decides about a Job; the last two are optional
    parent: Object,
    image: str,
    attempt: int,
    inputs: Inputs,
    settings: JobSettings,
    *,
    private: bool = False,
    adopt: bool = False,
) -> Object:
    """The Job of one attempt. It is never changed once made, so a later release may make it differently.

    `private` says that the image is known to be; of any other the copy finds out whether it is one. To `adopt` is to
    keep what the registry has under the image's name already, as where its CachedImage was deleted and made anew.
    """
    arguments = [
        *_arguments(image, inputs.platforms, settings),
        *(["--private"] if private else []),
        *(["--referrers"] if inputs.referrers else []),
        *(["--adopt"] if adopt and not inputs.referrers else []),  # the registry does not tell if it has them all
    ]
    meta = {
        "name": job_name(metadata(parent)["name"], attempt),
        "namespace": settings.namespace,
        "labels": dict(_LABELS),
        "annotations": {ATTEMPT: str(attempt), INPUTS: inputs.text()},
    }
    pod = pod_spec(settings.service_account, "copy", arguments, settings, _registry_token(settings))
    if settings.registry_credentials:
        pod = _with_credentials(pod, settings.registry_credentials)
    return one_run(meta, settings.deadline, pod)


def one_run(meta: Mapping[str, Any], deadline: int, pod: Mapping[str, Any]) -> Object:
    """A Job that runs its pod once, for at most `deadline` seconds; its pods wear its labels and are not counted.

    Every field that the API server would fill in is spelled out: else each sync would see a difference.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "activeDeadlineSeconds": deadline,
            "backoffLimit": 0,
            "completionMode": "NonIndexed",
            "completions": 1,
            "parallelism": 1,
            "suspend": False,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": {**meta["labels"], CACHE_LABEL: "false"}}, "spec": pod},
        },
    }


def _arguments(image: str, platforms: Sequence[str], settings: JobSettings) -> list[str]:
    wanted = [word for platform in platforms for word in ("--platform", platform)]
    targets = [word for target in settings.targets for word in ("--target", target)]
    sources = [word for source in settings.sources for word in ("--source", source)]
    return ["kuik.copy_job", "--image", image, *wanted, *sources, *targets]


def values(environment: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Variables of a container, each with a value that is no secret."""
    return [{"name": variable, "value": value} for variable, value in environment.items()]


def _registry_token(settings: JobSettings) -> list[Mapping[str, Any]]:
    """What opens the registry's writer: copies alone are given it."""
    return [_secret("KUIK_REGISTRY_TOKEN", settings.registry_secret, "writer")]


def _with_credentials(pod: Mapping[str, Any], secret: str) -> Mapping[str, Any]:
    """The pod with a pull secret as a file, for registries that know other users than kuik's own does.

    The file is the pod's own group's: its user is none that this knows of.
    """
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    volume = {"name": _CREDENTIALS, "secret": {"secretName": secret, "items": items, "defaultMode": 0o440}}
    (container,) = pod["containers"]
    mount = {"name": _CREDENTIALS, "mountPath": _CREDENTIALS_FOLDER, "readOnly": True}
    variable = {"name": "KUIK_REGISTRY_CREDENTIALS", "value": f"{_CREDENTIALS_FOLDER}/config.json"}
    opened = {
        **container,
        "env": [*container["env"], variable],
        "volumeMounts": [*container["volumeMounts"], mount],
    }
    return {
        **pod,
        "securityContext": {**pod["securityContext"], "fsGroup": _GROUP},
        "containers": [opened],
        "volumes": [*pod["volumes"], volume],
    }


def pod_spec(
    account: str,
    name: str,
    arguments: list[str],
    settings: JobSettings,
    variables: Sequence[Mapping[str, Any]] = (),
) -> Mapping[str, Any]:
    """The pod of one of kuik's Jobs: `arguments` are what `python -m` runs, as the service account `account`."""
    return {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(name, arguments, settings, variables)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }


def _container(
    name: str, arguments: list[str], settings: JobSettings, variables: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    env = [
        _field("KUIK_JOB", "metadata.labels['batch.kubernetes.io/job-name']"),
        _field("KUIK_NAMESPACE", "metadata.namespace"),
        _secret("KUIK_TOKEN", settings.token_secret, "token"),
        *variables,
    ]
    return confined(name, arguments, settings.image, env)


def confined(name: str, arguments: list[str], image: str, variables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """A container of one of kuik's Jobs, with its volume `tmp` and nothing that it could change."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": variables,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }


def _secret(variable: str, name: str, key: str) -> Mapping[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": True}}}


def _field(name: str, path: str) -> Mapping[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
