"""Patterns for images that stand for no image, told from how images are named."""

import re

from registry.reference import DOCKER_HUB, InvalidReference, Reference, names_a_host

_WILD = re.compile(r"[*?]")


def impossible(pattern: str) -> str:
    """Why no image's canonical name (`registry/repository:tag`, or `@digest`) fits the pattern, and what to write
    instead; empty where one may."""
    head = _WILD.split(pattern, maxsplit=1)[0]
    if head == pattern:
        return _of_one(pattern)
    host, slash, path = head.partition("/")
    if not slash:
        return _without_registry(pattern, head)
    return _of_host(pattern, host) or _of_repository(pattern, host, path)


def _of_host(pattern: str, host: str) -> str:
    if not names_a_host(host.lower()):
        return f"its registry would be {host}: write {DOCKER_HUB}/{pattern}"
    if host != host.lower():
        return f"a registry's name has no capital letters: write {pattern.replace(host, host.lower(), 1)}"
    if host == f"index.{DOCKER_HUB}":
        return f"images of Docker Hub are named {DOCKER_HUB}/…: write {pattern.replace(host, DOCKER_HUB, 1)}"
    return ""


def _of_repository(pattern: str, host: str, path: str) -> str:
    repository = re.split("[:@]", path, maxsplit=1)[0]
    if repository != repository.lower():
        return "repositories are written in lower case"
    if host == DOCKER_HUB and "/" not in path and repository != path:
        return f"Docker's own images are below library/: write {DOCKER_HUB}/library/{pattern.removeprefix(f'{host}/')}"
    return ""


def _of_one(pattern: str) -> str:
    try:
        named = str(Reference.parse(pattern).identity)
    except InvalidReference as error:
        return str(error)
    if named == pattern:
        return ""
    if "/" not in pattern and "." in pattern.partition(":")[0]:
        return f"a registry alone is no image: write {pattern}/* for all of its images"
    either = "" if re.search(r":[^/]*$|@", pattern) else f", or {named.removesuffix(':latest')}:* for all of its tags"
    return f"the image's whole name counts: write {named}{either}"


def _without_registry(pattern: str, head: str) -> str:
    """`nginx:*`: a registry called nginx would be meant, with a port; nobody means that who writes no slash."""
    name = re.fullmatch(r"([a-z0-9_-]+)[:@].*", head)
    if not name or "/" in pattern:
        return ""
    return f"a name begins with its registry: write {DOCKER_HUB}/library/{pattern}"
