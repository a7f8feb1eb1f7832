"""The gateways: each with its recipe, what in it is set to this machine's, and where what it logs is not what was sent."""

import pathlib
import re

try:
    import yaml
except ImportError:
    # Not of the standard library; `run` installs it beside the gateways.
    yaml = None

from processes import free_port
from traffic import HOST, ODD_SUBJECT

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes"
HERE = pathlib.Path(__file__).resolve().parent


class Gateway:
    """One gateway: its recipe's file, what in it is set to this machine's, how it is checked and run.

    `sets` are texts of the recipe and what stands for them here; each must be there, so a recipe that changes is noticed. `edit` changes
    the text further, where another log than the recipe's is tried. `beside` are further files of the recipe, set the same way.
    `shows` is where its answers and its log differ from what was sent: {request's name: {column: value}}, under "*" of all requests and
    under "NAME, HTTP/2" of those over it, and None in the place of columns for a call that it logs as no call.
    `settles_seconds` is from listening to answering as configured. `http2` is the port that takes HTTP/2 without TLS, "port" or "port2",
    or None. `pipes` are the ways its log goes into Kafka.
    """

    def __init__(self, name, gateway, program, recipe, log, check, start, *, sets=(), edit=None, beside=(), shows=(), wrap=None,
                 environment=(), http2=None, pipes=("collect",), settles_seconds=0.5):
        self.name, self.gateway, self.program, self.recipe, self.log = name, gateway, program, recipe, log
        self.check, self.start, self.sets, self.edit, self.beside = check, start, dict(sets), edit, beside
        self.shows, self.wrap, self.environment, self.http2, self.pipes = dict(shows), wrap, dict(environment), http2, pipes
        self.settles_seconds = settles_seconds

    def logs(self, label):
        """Says whether a request of this label is a call in its log."""
        return self.shows.get(label, {}) is not None


# NGINX

NGINX = """daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {recipe};
}}
"""
NGINX_LISTEN = "listen 127.0.0.1:{port}; listen 127.0.0.1:{port2} http2;"
NGINX_SETS = {
    "listen 8080;": NGINX_LISTEN, "http://127.0.0.1:9000": "http://127.0.0.1:{service}",
    "/var/log/nginx/tollwatch.json": "{folder}/log", "/etc/nginx/htpasswd": "{folder}/htpasswd",
}
# It ends such a request before it has read the headers, and over HTTP/2 before it has a request line to log.
NGINX_SHOWS = {"encoded slash": {"status": 400, "user_agent": None}, "encoded slash, HTTP/2": None}


def nginx(name, decoder, edit=None, shows=(), recipe="nginx.conf", sets=NGINX_SETS, pipes=("collect",)):
    return Gateway(
        name, decoder, "nginx", recipe, "{folder}/log",
        check=["nginx", "-t", "-p", "{folder}", "-c", "{wrapper}"],
        start=["nginx", "-p", "{folder}", "-c", "{wrapper}"],
        sets=sets, edit=edit, shows={**NGINX_SHOWS, **dict(shows)}, http2="port2", pipes=pipes,
        wrap=lambda folder, recipe: NGINX.format(folder=folder, recipe=recipe),
    )


# Of the variables that ingress-nginx itself sets, those its log formats use.
INGRESS = """{snippet}
map $host $proxy_upstream_name {{ default default-orders-80; }}
map $host $proxy_alternative_upstream_name {{ default ""; }}
map $host $req_id {{ default $request_id; }}
log_format upstreaminfo {escape}'{format}';
server {{
    {listen}
    server_name api.example;
    access_log {folder}/log upstreaminfo;
    location / {{ proxy_pass http://127.0.0.1:{service}; }}
}}
"""
# The controller's own, of its documents.
INGRESS_DEFAULT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length '
    "$request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length "
    "$upstream_response_time $upstream_status $req_id"
)


def ingress(text, names):
    """The configuration that the controller writes of its ConfigMap."""
    config = yaml.safe_load(text)["data"]
    return INGRESS.format(
        **names, listen=NGINX_LISTEN.format(**names), snippet=config["http-snippet"], escape="escape=json ", format=config["log-format-upstream"])


def ingress_default(_, names):
    return INGRESS.format(**names, listen=NGINX_LISTEN.format(**names), snippet="", escape="", format=INGRESS_DEFAULT)


# Apache

# Modules as Debian, Ubuntu and Alpine keep them.
APACHE_MODULES = (
    "mpm_event authn_core authn_file authz_core authz_user authz_host auth_basic env setenvif proxy proxy_http http2 log_config logio unixd"
).split()
APACHE = """ServerRoot {folder}
ServerName api.example
PidFile {folder}/httpd.pid
ErrorLog {folder}/error.log
{modules}
Protocols h2c http/1.1
Include {recipe}
"""


def apache_wrapper(folder, recipe):
    places = [pathlib.Path(p) for p in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")]
    place = next((p for p in places if p.is_dir()), places[0])
    found = [name for name in APACHE_MODULES if (place / f"mod_{name}.so").exists()]
    modules = "\n".join(f"LoadModule {name}_module {place}/mod_{name}.so" for name in found)
    return APACHE.format(folder=folder, recipe=recipe, modules=modules)


def apache(name, decoder, edit=None, shows=()):
    return Gateway(
        name, decoder, "apache2", "httpd.conf", "{folder}/log",
        check=["apache2", "-t", "-f", "{wrapper}"],
        start=["apache2", "-DFOREGROUND", "-f", "{wrapper}"],
        sets={"Listen 8080": "Listen 127.0.0.1:{port}", "*:8080": "127.0.0.1:{port}", "http://127.0.0.1:9000/": "http://127.0.0.1:{service}/",
              "/var/log/apache2/tollwatch.json": "{folder}/log", "/etc/apache2/htpasswd": "{folder}/htpasswd"},
        # `Require env` refuses with 403: who called is known, as nobody.
        shows={"no API key": {"status": 403}, **dict(shows)},
        edit=edit, wrap=apache_wrapper, http2="port",
    )


# HAProxy

SYSLOG_PORT = free_port()
HAPROXY_LOG = "log stdout len 16384 format raw local0 info"


def haproxy(name, edit=None, shows=(), environment=(), pipes=("collect",)):
    return Gateway(
        name, "haproxy", "haproxy", "haproxy.cfg", "{folder}/out",
        check=["haproxy", "-c", "-f", "{recipe}"],
        start=["haproxy", "-db", "-f", "{recipe}"],
        # `json(utf8s)` leaves out what is not UTF-8, and `jwt_payload_query` makes no UTF-8 of `\\u00e9`. What it refuses to parse it
        # logs as `<BADREQ>`, with no more of it.
        shows={"agent of odd bytes": {"user_agent": "caf "}, "odd subject": {"identity": ODD_SUBJECT.replace("é", "")}, "bytes beyond ASCII": None,
               **dict(shows)},
        sets={"bind :8080": "bind 127.0.0.1:{port}", "127.0.0.1:9000": "127.0.0.1:{service}", "/etc/haproxy/jwt.pem": "{folder}/jwt.pem",
              # Sent as well, for a shipper that listens.
              HAPROXY_LOG: f"{HAPROXY_LOG}\n    log 127.0.0.1:{SYSLOG_PORT} len 16384 format rfc5424 local0 info"},
        edit=edit, environment=environment, http2="port", pipes=pipes,
    )


# Envoy, and the formats of those it is in


def envoy(name, edit=None, shows=()):
    return Gateway(
        name, "envoy", "envoy", "envoy.yaml", "{folder}/log",
        check=["envoy", "--mode", "validate", "-c", "{recipe}"],
        start=["envoy", "-c", "{recipe}", "--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "200", "-l", "warning"],
        sets={"address: 0.0.0.0, port_value: 8080": "address: 127.0.0.1, port_value: {port}", "port_value: 9000": "port_value: {service}",
              "/var/log/envoy/tollwatch.json": "{folder}/log", "/etc/envoy/jwks.json": "{folder}/jwks.json"},
        # What is not UTF-8 is read as Latin-1. A path beyond ASCII is refused by its parser of HTTP/1, and nothing of it logged.
        shows={"agent of odd bytes": {"user_agent": "café ÿ"}, "bytes beyond ASCII": None, "bytes beyond ASCII, HTTP/2": {}, **dict(shows)},
        edit=edit, http2="port",
    )


def envoy_logging(change):
    """An edit of envoy.yaml: `change` gets its connection manager and its log."""

    def edit(text, _):
        config = yaml.safe_load(text)
        manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        change(manager, manager["access_log"][0]["typed_config"])
        return yaml.safe_dump(config)

    return edit


def istio(manager, log):
    """The mesh's keys; claims stand where `jwt_authn` puts them, as Istio's own filter is not in Envoy."""
    mesh = next(yaml.safe_load_all((RECIPES / "istio.yaml").read_text()))["spec"]["meshConfig"]
    keys = mesh["extensionProviders"][0]["envoyFileAccessLog"]["logFormat"]["labels"]
    log["log_format"] = {"json_format": {**keys, "jwt_claims": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:jwt)%"}}


def envoy_gateway(manager, log):
    """The gateway's keys, and what it makes of its ClientTrafficPolicy and SecurityPolicy."""
    documents = list(yaml.safe_load_all((RECIPES / "envoy-gateway.yaml").read_text()))
    log["log_format"] = {"json_format": documents[0]["spec"]["telemetry"]["accessLog"]["settings"][0]["format"]["json"]}
    mutation = manager["early_header_mutation_extensions"][0]["typed_config"]
    mutation["mutations"] = [{"remove": name} for name in documents[1]["spec"]["headers"]["earlyRequestHeaders"]["remove"]]
    tokens = next(one for one in manager["http_filters"] if "jwt_authn" in one["name"])["typed_config"]
    tokens["providers"]["issuer"]["claim_to_headers"] = [{"claim_name": "sub", "header_name": "x-jwt-sub"}]


# Caddy and Traefik

CADDY = Gateway(
    "caddy", "caddy", "caddy", "Caddyfile", "{folder}/log",
    check=["caddy", "validate", "--adapter", "caddyfile", "--config", "{recipe}"],
    start=["caddy", "run", "--adapter", "caddyfile", "--config", "{recipe}"],
    # No file of the user's, no second port, and HTTP/2 without TLS.
    sets={"{{\n\tservers {{": "{{\n\tadmin off\n\tpersist_config off\n\tservers {{\n\t\tprotocols h1 h2c", "http://:8080 {{": "http://:{port} {{\n\tbind 127.0.0.1",
          "127.0.0.1:9000": "127.0.0.1:{service}", "/var/log/caddy/tollwatch.json": "{folder}/log"},
    http2="port",
)


def traefik(name, edit=None, shows=()):
    # `ClientUsername` holds whom ForwardAuth found, however it found him.
    found = {request: {"identity_kind": "principal"}
             for request in ("JWT", "escaped path", "dots and slashes", "API key", "MCP", "MCP name beyond ASCII", "delete", "odd subject")}
    # Its path is normalised, as what it routes by is; Go puts `&` for `;`.
    normalised = {
        "escaped path": {"path": "/orders/1004;v=1", **found["escaped path"]},
        "dots and slashes": {"path": "/orders/1005", **found["dots and slashes"]},
        "encoded slash": {"path": "/files/..%2F..%2Fetc%2Fpasswd"},
        "quotes in the path": {"path": "/orders/%271006%27%7B%7D%7C%5E%60"},
        "encodings in the query": {"query": "q=%E2%9C%93%2B+%26&ids[]=1&ids[]=2&nul=%00&pair=%f0%9f%98%80&a=b=c&&&d"},
        "line break in the path": {"path": "/orders/1019%0D%0AGET%20/forged%09x"},
        "bytes beyond ASCII": {"path": "/caf%C3%A9/1020"},
        "slashes first": {"path": "/orders/1021"},
    }
    return Gateway(
        name, "traefik", "traefik", "traefik.yaml", "{folder}/log",
        check=["{python}", "-c", "import sys, yaml; yaml.safe_load(open(sys.argv[1]))", "{recipe}"],
        start=["traefik", "--configFile={recipe}"],
        sets={"/var/log/traefik/tollwatch.json": "{folder}/log", ":8080": "127.0.0.1:{port}", "/etc/traefik/dynamic.yaml": "{folder}/traefik-dynamic.yaml"},
        beside=[("traefik-dynamic.yaml", {"http://127.0.0.1:9000": "http://127.0.0.1:{service}", "http://127.0.0.1:9001": "http://127.0.0.1:{service}",
                                          "/etc/traefik/htpasswd": "{folder}/htpasswd"})],
        shows={**found, **normalised, **dict(shows)}, edit=edit, http2="port", settles_seconds=3,
    )


# Services

# With the stable names WSGI's instrumentation writes the path decoded.
DECODED = {
    "escaped path": {"path": "/orders/1004;v=1", "identity_kind": "principal"},
    "encoded slash": {"path": "/files/../../etc/passwd"},
    "line break in the path": {"path": "/orders/1019\r\nGET /forged\tx"},
    "question mark in the path": {"path": "/orders/1026", "query": "x"},
}


def traced(name, names, shows):
    return Gateway(
        name, "otlp", "opentelemetry-instrument", "traced.py", "{folder}/log",
        check=["{python}", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", "{recipe}"],
        start=["{python}", str(HERE / "traced_service.py"), "{recipe}", "{port}", "{folder}/log", "{folder}/tokens.json", "{otlp}"],
        shows={
            # The service names who it found, however it was found.
            **{request: {"identity_kind": "principal"}
               for request in ("JWT", "escaped path", "dots and slashes", "MCP", "MCP name beyond ASCII", "delete", "odd subject")},
            # WSGI hands headers over as Latin-1.
            "odd user agent": {"user_agent": 'q"uo\\te \\x41 {"a":1} Ã©;'},
            "agent of odd bytes": {"user_agent": "café ÿ"},
            "bytes beyond ASCII": {"path": "/cafÃ©/1020"},
            # Python's HTTP server puts one slash for several at a target's beginning.
            "slashes first": {"path": "/orders//1021"},
            **shows,
        },
        environment={"OTEL_SEMCONV_STABILITY_OPT_IN": names}, pipes=("collect", "collect-http", "otelcol-spans"),
    )


UNKNOWN = {"identity_kind": "ip_ua"}
# An Ingress without authentication: all calls reach the service.
OPEN = {name: {"status": 200, **UNKNOWN} for name in ("API key", "no API key", "password", "wrong password")}

# Defaults: what the same programs log before anybody configures them

# Columns that a line of text has not.
TEXT = {"host": None, "origin": None, "rpc_method": None, "tool": None, "identity_kind": "ip_ua"}
BASIC = {"password": {"identity_kind": "principal", "identity": "bob"}}
# nginx and Apache write the name of a Basic header, whoever checks it.
CLAIMED = {"name nobody checks": {"identity_kind": "principal", "identity": "carol"}}
# The only target that names its host.
ABSOLUTE = {"absolute target": {"host": HOST}}


def text_log(pattern, replacement):
    """An edit that puts another log in the place of the recipe's."""

    def edit(text, names):
        changed, n = re.subn(pattern, lambda _: replacement.format(**names), text, flags=re.M)
        if n != 1:
            raise SystemExit(f"{n} places of a recipe match {pattern!r}: change it in tests/gateways/gateways.py too")
        return changed

    return edit


def default_format(_, log):
    del log["log_format"]


GATEWAYS = [
    nginx("nginx", "nginx", pipes=("collect", "rsyslog", "otelcol")),
    haproxy("haproxy", pipes=("collect", "rsyslog-udp")),
    apache("apache", "nginx"),
    envoy("envoy"),
    CADDY,
    traefik("traefik"),
    traced("otel-old-names", "", {}),
    traced("otel-stable-names", "http", DECODED),
    nginx("ingress-nginx", "nginx", ingress, OPEN, recipe="ingress-nginx.yaml", sets={}),
    envoy("istio", envoy_logging(istio), {"API key": UNKNOWN, "password": UNKNOWN}),
    envoy("envoy-gateway", envoy_logging(envoy_gateway), {"password": UNKNOWN}),
    nginx("nginx-combined", "combined", text_log(r"access_log .*", "access_log {folder}/log combined;"), {"*": TEXT, **BASIC, **CLAIMED, **ABSOLUTE}),
    nginx("ingress-nginx-default", "ingress-nginx", ingress_default,
          {**OPEN, "*": TEXT, **BASIC, **CLAIMED, **ABSOLUTE, "wrong password": {"status": 200, **BASIC["password"]}}, recipe="ingress-nginx.yaml", sets={}),
    apache("apache-combined", "combined",
           text_log(r"CustomLog .*", r'CustomLog "{folder}/log" "%h %l %u %t \"%r\" %>s %O \"%{{Referer}}i\" \"%{{User-Agent}}i\""'), {"*": TEXT, **BASIC, **ABSOLUTE}),
    apache("apache-vhost-combined", "combined",
           text_log(r"CustomLog .*", r'CustomLog "{folder}/log" "%v:%p %h %l %u %t \"%r\" %>s %O \"%{{Referer}}i\" \"%{{User-Agent}}i\""'),
           {"*": {**TEXT, "host": HOST}, **BASIC}),
    haproxy("haproxy-httplog", text_log(r"log-format .*", "option httplog"), 
            # Of HTTP/2 it makes an absolute target.
            {"*": {**TEXT, "user_agent": None}, "agent of odd bytes": {"user_agent": None}, **ABSOLUTE, "*, HTTP/2": {"host": HOST}},
            environment={"TZ": "UTC"}),
    envoy("envoy-default", envoy_logging(default_format), {"*": {**TEXT, "host": HOST}, "agent of odd bytes": {}}),
    traefik("traefik-common", text_log(r"format: json", "format: common"), {"*": TEXT, **BASIC}),
    Gateway(
        "gin", "krakend", "gin-proxy", "krakend.md", "{folder}/out",
        check=["true"], start=["gin-proxy", "127.0.0.1:{port}", "http://127.0.0.1:{service}"],
        shows={
            **OPEN, "*": {**TEXT, "user_agent": None, "response_bytes": None}, "agent of odd bytes": {"user_agent": None},
            # It logs the path decoded, with the query behind it.
            "escaped path": {"path": "/orders/1004;v=1"},
            "encoded slash": {"path": "/files/../../etc/passwd"},
            "line break in the path": {"path": "/orders/1019\r\nGET /forged\tx"},
            "question mark in the path": {"path": "/orders/1026", "query": "x"},
        },
        environment={"TZ": "UTC"}, http2="port",
    ),
]
