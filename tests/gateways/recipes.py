"""Checks docs/recipes without a gateway: each file is linked and can be parsed, and each format of docs/formats.md has a recipe."""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree

try:
    import yaml
except ImportError:
    # Not of the standard library; `run` installs it beside the gateways.
    yaml = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes"


def parse(path):
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".xml":
        xml.etree.ElementTree.parse(path)
    elif path.suffix in (".yaml", ".yml") and yaml:
        list(yaml.safe_load_all(path.read_text()))


def faults():
    index = (RECIPES / "README.md").read_text()
    pages = sorted(RECIPES.glob("*.md"))
    linked = set(re.findall(r"\]\(([^)#]+)", index))
    for page in pages:
        if page.name != "README.md" and page.name not in linked:
            yield f"docs/recipes/README.md has no link to {page.name}"
    told = {link for page in pages for link in re.findall(r"\]\(([^)#]+)", page.read_text())}
    for path in sorted(RECIPES.iterdir()):
        if path.suffix != ".md" and path.name not in told:
            yield f"no page of docs/recipes links to {path.name}"
        try:
            parse(path)
        except (ValueError, xml.etree.ElementTree.ParseError, *((yaml.YAMLError,) if yaml else ())) as fault:
            yield f"{path.name} cannot be parsed: {fault}"
    # A row of the first table begins with the format's name.
    formats = re.findall(r"^\| `([a-z0-9-]+)`(?: \(`| \|)", (ROOT / "docs" / "formats.md").read_text().split("\n## ")[0], re.M)
    if len(formats) < 20:
        yield f"docs/formats.md names {len(formats)} formats only: is its table another now?"
    # So does the second cell of a row of the index.
    have = set(re.findall(r"^\|[^|]*\| `([a-z0-9-]+)`", index, re.M))
    for name in formats:
        if name not in have:
            yield f"docs/recipes/README.md has no row for the format {name}"


found = list(faults())
print("\n".join(found) or f"recipes: each is linked, and each format has one{'' if yaml else '; YAML was not parsed'}", file=sys.stderr)
sys.exit(bool(found))
