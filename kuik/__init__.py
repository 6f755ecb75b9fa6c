"""kube-image-keeper: the composition root, the command line and local mode."""

__version__ = "0.1.0"
