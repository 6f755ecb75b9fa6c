"""Synthetic images for tests: the builder is the demo's."""

from kuik.demo.images import BuiltImage, image, index

__all__ = ["BuiltImage", "image", "index", "multi_platform"]


def multi_platform(seed: object, *, layer_size: int = 4096, docker: bool = False) -> BuiltImage:
    """An index of linux/amd64 and linux/arm64."""
    platforms = ("linux/amd64", "linux/arm64")
    return index([image(seed, layer_size=layer_size, platform=p, docker=docker) for p in platforms], docker=docker)
