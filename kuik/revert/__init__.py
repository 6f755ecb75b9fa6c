"""The way back: pods that still have the node proxy's names of their images get, one way or another, the originals."""
