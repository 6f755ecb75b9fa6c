"""Images that a person wants out of the cache: which may go, and how a cluster is told."""
