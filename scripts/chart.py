"""Keeps the chart true to its sources: `python scripts/chart.py` writes, `--check` says what is out of date.

- crds/ and files/ are copies of metacontroller/: a chart is read by its own folder, and by Flux without symlinks.
- values.schema.json gets the ImageCache's spec from its CRD.
- files/alerts.yaml is what docs/metrics.md advises.
- docs/chart-values.md is the table of values.yaml, from the comments there.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "kube-image-keeper"
SOURCE = ROOT / "metacontroller"
TABLE = ROOT / "docs" / "chart-values.md"
SCHEMA = CHART / "values.schema.json"
_COPIES = {
    "crds": "crds",
    "controllers": "files/controllers",
    "rbac.yaml": "files/rbac.yaml",
    "prefetch.yaml": "files/prefetch.yaml",
}
_KEPT = (
    "type",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "description",
)
_ALERTS = re.compile(r"^## Alerts\n+```yaml\n(.*?)```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^\s*# (-- )?(.*)$")
_HEAD = """\
# Values of the chart

Written by `make chart` from `charts/kube-image-keeper/values.yaml`. [install.md](install.md) tells which matter when.

| value | default | meaning |
|---|---|---|
"""


def wanted() -> Mapping[Path, str]:
    """What each file should hold."""
    made = {SCHEMA: _schema(), TABLE: _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows())}
    made[CHART / "files" / "alerts.yaml"] = _ALERTS.findall((ROOT / "docs" / "metrics.md").read_text())[0]
    for source, target in _COPIES.items():
        folder = SOURCE / source
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else [folder]:
            made[CHART / target / file.name if folder.is_dir() else CHART / target] = file.read_text()
    return made


def stray() -> Iterator[Path]:
    """Copies whose source is gone."""
    for folder in ("crds", "files/controllers"):
        yield from (file for file in (CHART / folder).glob("*") if file not in wanted())


def rows() -> Iterator[tuple[str, str, str]]:
    """Each documented value: its path, its default, and what it means."""
    text = (CHART / "values.yaml").read_text()
    lines = text.splitlines()
    for path, line, node in _nodes(yaml.compose(text, yaml.SafeLoader)):
        meaning = _comment(lines, line)
        if meaning:
            default = json.dumps(yaml.safe_load(yaml.serialize(node)))
            yield f"`{path}`", f"`{default}`", meaning.replace("|", "\\|")


def undocumented() -> Iterator[str]:
    """Values without a comment of their own or of what they are in."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    told: list[str] = []
    for path, line, node in _nodes(yaml.compose("\n".join(lines), yaml.SafeLoader)):
        if _comment(lines, line):
            told.append(path)
        elif not isinstance(node, yaml.MappingNode) and not any(path.startswith(f"{one}.") for one in told):
            yield path


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, int, Any]]:
    for key, value in node.value:
        inside = f"{path}.{key.value}" if path else key.value
        yield inside, key.start_mark.line, value
        if isinstance(value, yaml.MappingNode):
            yield from _nodes(value, inside)


def _comment(lines: list[str], line: int) -> str:
    """The comment right above a line, where it begins with `# --`."""
    said: list[str] = []
    for above in reversed(lines[:line]):
        found = _COMMENT.match(above)
        if not found:
            return ""
        said.insert(0, found[2])
        if found[1]:
            return " ".join(said)
    return ""


def _schema() -> str:
    """values.schema.json as it is, with the ImageCache's spec as its CRD has it now."""
    document = json.loads(SCHEMA.read_text())
    definition = yaml.safe_load((SOURCE / "crds" / "imagecaches.yaml").read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    document["definitions"]["ImageCacheSpec"] = _translated(spec)
    entry = spec["properties"]["registries"]
    document["definitions"]["Registries"] = _translated(entry)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _translated(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A CRD's schema as JSON Schema: the API server prunes unknown fields, and people should hear of them."""
    made: dict[str, Any] = {name: schema[name] for name in _KEPT if name in schema}
    if "properties" in schema:
        made["properties"] = {name: _translated(one) for name, one in schema["properties"].items()}
        made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _translated(schema["additionalProperties"])
    if "items" in schema:
        made["items"] = _translated(schema["items"])
    return made


def main() -> int:
    """The exit status."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--check", action="store_true", help="change nothing; fail where something is out of date")
    check = options.parse_args().check
    stale = [file for file, text in wanted().items() if not file.exists() or file.read_text() != text]
    gone = list(stray())
    if check:
        for file in (*stale, *gone):
            sys.stderr.write(f"{file.relative_to(ROOT)} is out of date: run `make chart`\n")
        return 1 if stale or gone else 0
    for file in stale:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted()[file])
    for file in gone:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
