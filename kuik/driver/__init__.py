"""The loop that calls the stages as Metacontroller does, and the objects that it keeps for local mode."""
