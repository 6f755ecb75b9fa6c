"""Local mode: the whole job without a cluster, from manifests on disk to a folder of images that is served."""
