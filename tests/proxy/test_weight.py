"""The node proxy runs on every node, so what it imports is known by name, and what that takes of memory is bounded."""

import json
import subprocess
import sys

from tests.rig.components import ROOT

OURS = {"proxy", "registry", "telemetry"}
LIBRARIES = {
    *("flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker", "click"),
    *("requests", "urllib3", "certifi", "idna", "charset_normalizer"),
    *("gunicorn", "prometheus_client"),
}
MOST_ANONYMOUS = 36 << 20
"""Bytes of its own after the imports: two processes share most of it, and 48 MiB is what both may take."""

LOOK = """
import json, sys
import proxy.__main__
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([sorted(sys.modules), int(status["RssAnon"].split()[0]) * 1024]))
"""


def test_nothing_heavy_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    modules, anonymous = json.loads(done.stdout)
    found = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    named = {name for name in found if not name.startswith(("_", "cython", "charset_normalizer")) and "__" not in name}
    assert named <= OURS | LIBRARIES
    assert named >= OURS
    assert not [name for name in modules if name.startswith("proxy.shield")]
    assert anonymous < MOST_ANONYMOUS
