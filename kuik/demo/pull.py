"""A client's pull, as the demo makes it: everything that an image names, each byte checked."""

from registry.client import Client
from registry.digest import Digest
from registry.reference import Reference
from registry.transport import NO_RETRIES, Timeouts, Transport, host_settings
from registry.verify import verified


def puller(*hosts: str) -> Client:
    """A client that speaks plain HTTP to `hosts` and gives up at the first failure."""
    return Client(Transport(host_settings(hosts), timeouts=Timeouts(2, 20), retries=NO_RETRIES))


def pull(client: Client, reference: Reference) -> Digest:
    """Pull the image with all its platforms and tell its digest; raises RegistryError."""
    manifest = client.manifest(reference)
    for child in manifest.manifests:
        pull(client, reference.with_digest(child.digest))
    for blob in manifest.blobs:
        with client.open_blob(reference, blob.digest) as stream:
            for _ in verified(stream, blob.digest, blob.size):
                pass
    return manifest.digest
