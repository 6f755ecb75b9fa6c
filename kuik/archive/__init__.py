"""Images in one file: OCI image layouts in a tar archive, as air gaps are crossed with."""
