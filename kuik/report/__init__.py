"""How safe the workloads' images are, and what the cache has saved."""
