"""What runs beside the registry: its configuration, and in time what keeps it as the CachedImages say."""
