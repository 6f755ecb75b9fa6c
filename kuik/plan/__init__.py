"""What a change of policies would do to a cluster, found out by the stages themselves on its objects in memory."""
