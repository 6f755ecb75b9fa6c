"""The mission's story, told offline: an upstream of its own, pods, an outage, and pulls that still work."""
