"""The origin shield: the one place that asks upstream registries, once for each digest."""
