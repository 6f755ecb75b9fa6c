"""Rescue: containers that wait for an image in vain get the name under which it can be pulled now."""
