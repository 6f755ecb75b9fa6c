"""The OCI side: names, digests, manifests, a distribution client, the image layout folder, copies."""
