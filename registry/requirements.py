"""What kuik needs of the registry that holds its copies: any that meets this may take the place of its own.

`docs/registry.md` tells the same to people; `registry.fitness` finds out.
"""

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """One thing that kuik needs, by the word under which it is reported."""

    ANSWERS = "answers"
    GUARDED = "guarded"
    PATHS = "paths"
    BLOBS = "blobs"
    RANGES = "ranges"
    MANIFESTS = "manifests"
    DOCKER = "docker"
    SPARSE = "sparse"
    TAGS_MOVE = "tags-move"
    TAGS_GO = "tags-go"
    FRESH = "fresh"
    LISTED = "listed"
    CATALOG = "catalog"


@dataclass(frozen=True)
class Requirement:
    """What is asked, and what a person does where it is not met. Without what is not `must`, something is missing."""

    what: str
    advice: str
    must: bool = True


REQUIREMENTS = {
    Need.ANSWERS: Requirement(
        "It answers `GET /v2/` with 200 to the credentials that kuik's components have.",
        "Check the URL, TLS (`http://` where it has none) and the credentials: KUIK_REGISTRY_TOKEN is the password of "
        "user `kuik`, KUIK_REGISTRY_CREDENTIALS the path of a pull secret with an entry for this host.",
    ),
    Need.GUARDED: Requirement(
        "It answers nobody without credentials: it holds private images as well.",
        "Ask for credentials, also for pulls; or be sure that nothing but kuik reaches it.",
    ),
    Need.PATHS: Requirement(
        "A repository may have ten path segments, and `__` in one of them: "
        "`private/registry.example__5000/a/b/c/d/e/f/g/h`.",
        "Give kuik a registry, or a place in one, that does not limit the depth of repositories, and creates them when "
        "they are pushed to.",
    ),
    Need.BLOBS: Requirement(
        "A blob is uploaded by POST and PUT, and a HEAD tells its size.",
        "Allow the writer's credentials to push, and proxies in between to pass large bodies.",
    ),
    Need.RANGES: Requirement(
        "A GET of a blob with `Range` is answered 206 with exactly those bytes, also behind a redirect.",
        "Where a proxy or a CDN stands before it, have that pass `Range` on: without it, a transfer that breaks cannot "
        "go on elsewhere.",
    ),
    Need.MANIFESTS: Requirement(
        "Manifests and indexes are put by digest and by tag, and come back byte for byte under both.",
        "Switch off whatever rewrites images on the way in, such as signing or conversion.",
    ),
    Need.DOCKER: Requirement(
        "Docker's manifests and manifest lists are taken as well as OCI's.",
        "Allow the media types application/vnd.docker.distribution.manifest.v2+json and ….manifest.list.v2+json.",
    ),
    Need.SPARSE: Requirement(
        "An index is taken though some that it names are not there: only wanted platforms are copied.",
        "For CNCF distribution 3: `validation.manifests.indexes.platforms: none`. Distribution 2 cannot do it. "
        "With a registry that checks, every image must be copied for all of its platforms.",
    ),
    Need.TAGS_MOVE: Requirement(
        "A tag may be put again and then names the new manifest.",
        "Switch immutable tags off for kuik's repositories.",
    ),
    Need.TAGS_GO: Requirement(
        "DELETE of a tag removes that tag alone: its siblings stay, and the digest can still be pulled.",
        "For CNCF distribution 3: `storage.delete.enabled: true`. Distribution 2 cannot do it. Never let kuik's keeper "
        "delete in a registry where this takes the image away from other tags.",
    ),
    Need.FRESH: Requirement(
        "A reader shows at once what the writer wrote and deleted.",
        "Configure no cache of descriptors in memory (`storage.cache` of CNCF distribution), and the same storage.",
    ),
    Need.LISTED: Requirement(
        "The tags of a repository are listed.",
        "Allow the writer's credentials to list: the keeper finds so what nothing uses any more.",
    ),
    Need.CATALOG: Requirement(
        "`/v2/_catalog` lists the repositories.",
        "Without it the keeper sees only repositories that some CachedImage names, and others' space is never freed.",
        must=False,
    ),
}
