"""Mirror delivery: containerd is told to ask the node proxy first, and asks upstream by itself when nobody answers."""
