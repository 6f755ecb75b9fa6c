"""Leaving a cluster: nothing of kuik is left in its way, and no pod that needs the node proxies loses them."""
