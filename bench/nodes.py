"""The servers on a node that are measured beside one another: kuik's proxy with its shield, and nginx."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.servers import Server, running
from tests.rig.processes import free_port

NGINX = "nginx"
_TOKEN = {"KUIK_TOKEN": "a-token-for-benchmarks"}
_NGINX = """worker_processes auto; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  upstream registry {{ server {registry}; keepalive 32; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering on; proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, registry: str) -> Iterator[Server]:
    """nginx in front of a registry (`host:port`), with its buffers and with connections that are kept."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, registry=registry))
    with running([NGINX, "-c", str(config), "-p", str(folder)], port, folder / "log") as server:
        yield server


@contextmanager
def proxy(folder: Path, registry: str, upstream: str) -> Iterator[Server]:
    """The node proxy with a registry that has copies and a shield in front of upstream; only the proxy is measured."""
    folder.mkdir(parents=True)
    environment = {**os.environ, **_TOKEN}
    plain = ["--plain-http", upstream, "--telemetry", "none"]
    with ExitStack() as stack:
        behind = free_port()
        words = [sys.executable, "-m", "proxy.shield", "--listen", f"127.0.0.1:{behind}", *plain]
        words += ["--spool", str(folder / "spool")]
        stack.enter_context(running(words, behind, folder / "shield.log", "/v2/", environment, status=401))
        port = free_port()
        words = [sys.executable, "-m", "proxy", "--listen", f"127.0.0.1:{port}", *plain]
        words += ["--registry", f"http://{registry}", "--shield", f"http://127.0.0.1:{behind}"]
        yield stack.enter_context(running(words, port, folder / "proxy.log", environment=environment))
