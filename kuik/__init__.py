"""kube-image-keeper: the composition root, the command line and local mode."""

from telemetry.version import VERSION

__version__ = VERSION
