"""The node proxy: answers pulls on every node from a chain of sources. Stores nothing."""
