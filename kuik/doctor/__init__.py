"""What in a cluster keeps kuik from doing its work, or would once it is installed, and what to do about it."""
