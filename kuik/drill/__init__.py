"""The safe part of an outage: whether what runs could be pulled again from the cache alone."""
