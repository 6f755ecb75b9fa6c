"""Where images can be had from: what is asked and answered (message), and the kinds of sources."""

from proxy.sources.message import Answer, Request, Source
from proxy.sources.remote import Remote
from proxy.sources.stored import Stored
from proxy.sources.upstream import Upstream

__all__ = ["Answer", "Remote", "Request", "Source", "Stored", "Upstream"]
