"""Checks docs/recipes without a gateway: each file is linked and can be parsed, and each format of docs/formats.md has a recipe."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
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


# The variables of ingress-nginx' own that its log format uses.
INGRESS = """events {{}}
pid {folder}/pid;
http {{
    {snippet}
    map $host $proxy_upstream_name {{ default x; }}
    map $host $req_id {{ default x; }}
    log_format upstreaminfo escape=json '{format}';
    server {{ listen 127.0.0.1:1; access_log {folder}/log upstreaminfo; }}
}}
"""


def refused(program, arguments, name):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        yield f"{name} is refused by {program}: {done.stderr[-600:]}"


def formats_of_others():
    """Log formats of what runs in Kubernetes, held to the Envoy and the nginx in it; nothing is told where these are not installed."""
    if not yaml:
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if shutil.which("envoy"):
            istio = next(yaml.safe_load_all((RECIPES / "istio.yaml").read_text()))["spec"]["meshConfig"]["extensionProviders"][0]
            gateway = next(yaml.safe_load_all((RECIPES / "envoy-gateway.yaml").read_text()))["spec"]["telemetry"]["accessLog"]["settings"][0]
            for name, keys in (("istio.yaml", istio["envoyFileAccessLog"]["logFormat"]["labels"]), ("envoy-gateway.yaml", gateway["format"]["json"])):
                envoy = yaml.safe_load((RECIPES / "envoy.yaml").read_text())
                manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
                manager["access_log"][0]["typed_config"].update(path=str(folder / "log"), log_format={"json_format": keys})
                # It needs the key's file.
                manager["http_filters"] = [one for one in manager["http_filters"] if "jwt_authn" not in one["name"]]
                path = folder / name
                path.write_text(yaml.safe_dump(envoy))
                yield from refused("envoy", ["--mode", "validate", "-c", str(path)], name)
        if shutil.which("nginx"):
            ingress = yaml.safe_load((RECIPES / "ingress-nginx.yaml").read_text())["data"]
            path = folder / "ingress.conf"
            path.write_text(INGRESS.format(folder=folder, snippet=ingress["http-snippet"], format=ingress["log-format-upstream"]))
            yield from refused("nginx", ["-t", "-p", str(folder), "-c", str(path)], "ingress-nginx.yaml")


found = [*faults(), *formats_of_others()]
print("\n".join(found) or f"recipes: each is linked, and each format has one{'' if yaml else '; YAML was not parsed'}", file=sys.stderr)
sys.exit(bool(found))
