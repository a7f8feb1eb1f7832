"""Starts each gateway in front of a small service, sends requests through it, and holds what `tollwatch` reads of its log against them.

Called by `run`, which has the usage. Everything is on loopback; every process that is started is ended, every file is in one temporary folder.
"""

import argparse
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from traffic import CLIENT_IP, Issuer, requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs" / "recipes"
HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS_MAX = 30
# A gateway that buffers its log writes it within this.
LOG_SECONDS_MAX = 15
# Longer than any of them holds lines back.
LOG_SECONDS_QUIET = 1.5
COLUMNS = (
    "gateway, event_time, method, path, query, status, host, client_ip, user_agent, identity_kind, identity, rpc_method, tool, "
    "request_bytes, response_bytes"
)
# Head of an answer that a gateway adds to or counts in.
HEAD_BYTES_MAX = 2048


class Service(http.server.BaseHTTPRequestHandler):
    """Answers 404 below /missing/, 401 to a token its issuer never gave out, and else 200 with a body of one size."""

    protocol_version = "HTTP/1.1"
    tokens = frozenset()
    body = json.dumps({"status": "paid", "note": "x" * 64}).encode()

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        status = 401 if scheme == "Bearer" and token not in self.tokens else 404 if self.path.startswith("/missing/") else 200
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # Gateways reset connections that they kept in reserve.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Gateway:
    """One gateway: its recipe's file, what in it is set to this machine's, how it is checked and run.

    `sets` are texts of the recipe and what stands for them here; each must be there, so a recipe that changes is noticed.
    `shows` is where its answers and its decoder differ from the rule: {request's name: {column: value}}, under "*" of all requests.
    """

    def __init__(self, name, gateway, program, recipe, log, check, start, sets=(), shows=(), wrap=None, environment=()):
        self.name, self.gateway, self.program, self.recipe, self.log = name, gateway, program, recipe, log
        self.check, self.start, self.sets, self.shows, self.wrap = check, start, dict(sets), dict(shows), wrap
        self.environment = dict(environment)


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

# Modules as Debian, Ubuntu and Alpine keep them.
APACHE_MODULES = (
    "mpm_event authn_core authn_file authz_core authz_user authz_host auth_basic env setenvif proxy proxy_http log_config logio unixd"
).split()
APACHE = """ServerRoot {folder}
ServerName api.example
PidFile {folder}/httpd.pid
ErrorLog {folder}/error.log
{modules}
Include {recipe}
"""


def apache_wrapper(folder, recipe):
    places = [pathlib.Path(p) for p in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")]
    place = next((p for p in places if p.is_dir()), places[0])
    found = [name for name in APACHE_MODULES if (place / f"mod_{name}.so").exists()]
    modules = "\n".join(f"LoadModule {name}_module {place}/mod_{name}.so" for name in found)
    return APACHE.format(folder=folder, recipe=recipe, modules=modules)


# With the stable names WSGI's instrumentation writes the path decoded.
DECODED = {
    "escaped path": {"path": "/orders/1004;v=1", "identity_kind": "principal"},
    "encoded slash": {"path": "/files/../../etc/passwd"},
}

GATEWAYS = [
    Gateway(
        "nginx", "nginx", "nginx", "nginx.conf", "{folder}/log",
        check=["nginx", "-t", "-p", "{folder}", "-c", "{wrapper}"],
        start=["nginx", "-p", "{folder}", "-c", "{wrapper}"],
        sets={"listen 8080;": "listen 127.0.0.1:{port};", "http://127.0.0.1:9000": "http://127.0.0.1:{service}",
              "/var/log/nginx/tollwatch.json": "{folder}/log", "/etc/nginx/htpasswd": "{folder}/htpasswd"},
        # It ends such a request before it has read the headers.
        shows={"encoded slash": {"status": 400, "user_agent": None}},
        wrap=lambda folder, recipe: NGINX.format(folder=folder, recipe=recipe),
    ),
    Gateway(
        "haproxy", "haproxy", "haproxy", "haproxy.cfg", "{folder}/out",
        check=["haproxy", "-c", "-f", "{recipe}"],
        start=["haproxy", "-db", "-f", "{recipe}"],
        # `json(utf8s)` leaves out what is not UTF-8.
        shows={"agent of odd bytes": {"user_agent": "caf "}},
        sets={"bind :8080": "bind 127.0.0.1:{port}", "127.0.0.1:9000": "127.0.0.1:{service}", "/etc/haproxy/jwt.pem": "{folder}/jwt.pem"},
    ),
    Gateway(
        "apache", "nginx", "apache2", "httpd.conf", "{folder}/log",
        check=["apache2", "-t", "-f", "{wrapper}"],
        start=["apache2", "-DFOREGROUND", "-f", "{wrapper}"],
        sets={"Listen 8080": "Listen 127.0.0.1:{port}", "*:8080": "127.0.0.1:{port}", "http://127.0.0.1:9000/": "http://127.0.0.1:{service}/",
              "/var/log/apache2/tollwatch.json": "{folder}/log", "/etc/apache2/htpasswd": "{folder}/htpasswd"},
        # `Require env` refuses with 403: who called is known, as nobody.
        shows={"no API key": {"status": 403}},
        wrap=apache_wrapper,
    ),
    Gateway(
        "envoy", "envoy", "envoy", "envoy.yaml", "{folder}/log",
        check=["envoy", "--mode", "validate", "-c", "{recipe}"],
        start=["envoy", "-c", "{recipe}", "--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "200", "-l", "warning"],
        sets={"address: 0.0.0.0, port_value: 8080": "address: 127.0.0.1, port_value: {port}", "port_value: 9000": "port_value: {service}",
              "/var/log/envoy/tollwatch.json": "{folder}/log", "/etc/envoy/jwks.json": "{folder}/jwks.json"},
        # What is not UTF-8 is read as Latin-1.
        shows={"agent of odd bytes": {"user_agent": "café ÿ"}},
    ),
    Gateway(
        "caddy", "caddy", "caddy", "Caddyfile", "{folder}/log",
        check=["caddy", "validate", "--adapter", "caddyfile", "--config", "{recipe}"],
        start=["caddy", "run", "--adapter", "caddyfile", "--config", "{recipe}"],
        # No file of the user's, and no second port.
        sets={"{{\n\tservers {{": "{{\n\tadmin off\n\tpersist_config off\n\tservers {{", "http://:8080 {{": "http://:{port} {{\n\tbind 127.0.0.1",
              "127.0.0.1:9000": "127.0.0.1:{service}", "/var/log/caddy/tollwatch.json": "{folder}/log"},
    ),
    *(
        Gateway(
            name, "otlp", "opentelemetry-instrument", "traced.py", "{folder}/log",
            check=["{python}", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", "{recipe}"],
            start=["{python}", str(HERE / "traced_service.py"), "{recipe}", "{port}", "{folder}/log", "{folder}/tokens.json"],
            shows={
                # The service names who it found, however it was found.
                **{request: {"identity_kind": "principal"} for request in ("JWT", "escaped path", "dots and slashes", "MCP", "delete")},
                # WSGI hands headers over as Latin-1.
                "odd user agent": {"user_agent": 'q"uo\\te \\x41 {"a":1} Ã©;'},
                "agent of odd bytes": {"user_agent": "café ÿ"},
                **shows,
            },
            environment={"OTEL_SEMCONV_STABILITY_OPT_IN": names},
        )
        for name, names, shows in (("otel-old-names", "", {}), ("otel-stable-names", "http", DECODED))
    ),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def send(port, wire):
    """Sends one request from CLIENT_IP and reads the answer to its end; returns its status, or None."""
    with socket.create_connection(("127.0.0.1", port), 10, (CLIENT_IP, 0)) as s:
        s.sendall(wire)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    line = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[1].isdigit() else None


class Refused(Exception):
    """A gateway that could not be had or started: why."""


class Running:
    """A gateway at work in its folder."""

    def __init__(self, gateway, folder, service_port):
        self.gateway, self.folder, self.port = gateway, folder, free_port()
        self.names = {"folder": folder, "port": self.port, "service": service_port}
        self.names["recipe"] = folder / gateway.recipe
        # The interpreter that the gateway's program is installed for.
        self.names["python"] = pathlib.Path(shutil.which(gateway.program)).with_name("python3")
        text = (RECIPES / gateway.recipe).read_text()
        for old, new in gateway.sets.items():
            old = old.format()
            if old not in text:
                raise SystemExit(f"{gateway.recipe} has no {old!r} any more: change it in tests/gateways/drive.py too")
            text = text.replace(old, new.format(**self.names))
        self.names["recipe"].write_text(text)
        if gateway.wrap:
            self.names["wrapper"] = folder / "wrapper.conf"
            self.names["wrapper"].write_text(gateway.wrap(folder, self.names["recipe"]))

    def command(self, parts):
        return [part.format(**self.names) for part in parts]

    def environment(self):
        return {**os.environ, "HOME": str(self.folder), "TZ": "Pacific/Auckland", **self.gateway.environment}

    def __enter__(self):
        checked = subprocess.run(self.command(self.gateway.check), capture_output=True, text=True, env=self.environment(), timeout=60)
        if checked.returncode:
            raise SystemExit(f"{self.gateway.recipe} is refused by {self.gateway.program}:\n{checked.stdout}{checked.stderr}")
        out = open(self.folder / "out", "wb")
        self.process = subprocess.Popen(
            self.command(self.gateway.start), stdout=out, stderr=open(self.folder / "err", "wb"), stdin=subprocess.DEVNULL,
            env=self.environment(), cwd=self.folder, start_new_session=True)
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.__exit__()
                    raise SystemExit(f"{self.gateway.name} does not serve:\n{(self.folder / 'err').read_text(errors='replace')[-2000:]}") from None
                time.sleep(0.1)

    def __exit__(self, *_):
        # The group has only what this process started.
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(10)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def log(self):
        return pathlib.Path(self.gateway.log.format(**self.names))


def wait_for(log):
    """Returns when nothing more came into the log for LOG_SECONDS_QUIET."""
    size, until = None, time.monotonic() + LOG_SECONDS_MAX
    while time.monotonic() < until:
        time.sleep(LOG_SECONDS_QUIET)
        before, size = size, log.stat().st_size if log.exists() else 0
        if size and size == before:
            return


def decoded(tollwatch, log):
    command = [tollwatch, "query", f"SELECT {COLUMNS} FROM events ORDER BY event_time", "--from", str(log), "--lanes", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def differences(gateway, request, row, answered):
    """What of a row is not as sent: (column, expected, read)."""
    expected = {**request.expected(), "gateway": gateway.gateway}
    for name in ("*", request.name):
        expected.update(gateway.shows.get(name, {}))
    if answered != expected["status"]:
        yield "status answered", expected["status"], answered
    for column, value in expected.items():
        if row.get(column) != value:
            yield column, value, row.get(column)
    if request.status == 200:
        size = row.get("response_bytes")
        if size is None or not len(Service.body) <= size <= len(Service.body) + HEAD_BYTES_MAX:
            yield "response_bytes", f"{len(Service.body)} and up to a head", size
    size = row.get("request_bytes")
    if size is not None and not len(request.body) <= size <= len(request.wire()) + HEAD_BYTES_MAX:
        yield "request_bytes", f"at most {len(request.wire())} and what the gateway adds", size


def try_gateway(gateway, tollwatch, folder, service_port, asked, secrets, keep):
    if not shutil.which(gateway.program):
        raise Refused(f"no {gateway.program} on PATH")
    with Running(gateway, folder, service_port) as running:
        # Those who wait for the gateway's port leave a line of their own in some logs.
        time.sleep(0.5)
        answered = []
        began = time.time()
        for request in asked:
            answered.append(send(running.port, request.wire()))
            time.sleep(0.05)
        ended = time.time()
        wait_for(running.log())
    if keep:
        shutil.copy(running.log(), pathlib.Path(keep) / f"{gateway.name}.log")
    rows, told = decoded(tollwatch, running.log())
    faults, table = [], []
    if len(rows) != len(asked):
        faults.append(("all", "rows", len(asked), f"{len(rows)}; {told.strip()[-500:]}"))
    for request, row, status in zip(asked, rows, answered):
        found = list(differences(gateway, request, row, status))
        faults += [(request.name, *difference) for difference in found]
        table.append((request, row, found))
    text = running.log().read_text(errors="replace")
    faults += [("all", "secret in the log", "none", what) for what, secret in secrets.items() if secret in text]
    times = sorted(str(row["event_time"]) for row in rows)
    stamp = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    if times and not stamp(began - 2) <= times[0][:19].replace(" ", "T") <= times[-1][:19].replace(" ", "T") <= stamp(ended + 2):
        faults.append(("all", "event_time", f"{stamp(began)} to {stamp(ended)}", f"{times[0]} to {times[-1]}"))
    return table, faults


def show(gateway, table, faults):
    print(f"\n{gateway.name}: {len(table)} calls read, {len(faults)} differences")
    print(f"  {'request':<20} {'status':>6}  {'identity':<22} {'tool':<12} path and query")
    for request, row, found in table:
        who = f"{row['identity_kind']} {row['identity']}"[:22]
        query = "" if row.get("query") is None else "?" + row["query"]
        mark = "!" if found else " "
        asked = ascii(row["path"] + query)[1:-1][:60]
        print(f"{mark} {request.name:<20} {row.get('status') or '-':>6}  {who:<22} {row.get('tool') or '-':<12} {asked}")
    for name, column, expected, read in faults:
        print(f"  DIFFERS {name}: {column} is {read!r}, expected {expected!r}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("tollwatch", help="the binary")
    arguments.add_argument("gateways", nargs="*", help="names; all when absent")
    arguments.add_argument("--keep", help="folder that the logs are copied into")
    given = arguments.parse_args()
    known = {gateway.name: gateway for gateway in GATEWAYS}
    if unknown := set(given.gateways) - set(known):
        raise SystemExit(f"unknown gateway {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    wanted = [known[name] for name in given.gateways or known]
    n_faults, ran, skipped = 0, [], []
    with tempfile.TemporaryDirectory(prefix="tollwatch-gateways-") as work:
        work = pathlib.Path(work)
        # Gateways that drop their rights read their files all the same.
        work.chmod(0o755)
        issuer = Issuer(work)
        asked = requests(issuer)
        shown = [dict(request.headers).get("Authorization", "") for request in asked]
        Service.tokens = frozenset(
            value.split(" ")[1] for request, value in zip(asked, shown) if value.startswith("Bearer ") and request.status == 200)
        secrets = {"a token's signature": next(iter(Service.tokens)).rsplit(".", 1)[1], "an API key": "example-key",
                   "a password": next(value for value in shown if value.startswith("Basic "))[6:]}
        service = Server(("127.0.0.1", 0), Service)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        for gateway in wanted:
            folder = work / gateway.name
            folder.mkdir()
            folder.chmod(0o777)
            for name in ("jwt.pem", "jwks.json"):
                shutil.copy(work / name, folder / name)
            (folder / "tokens.json").write_text(json.dumps({token: "alice" for token in Service.tokens}))
            (folder / "htpasswd").write_text("bob:{SHA}VV2iDfINQXLgDxtz18OUOAIFUnA=\n")
            try:
                table, faults = try_gateway(gateway, given.tollwatch, folder, service.server_address[1], asked, secrets, given.keep)
            except Refused as why:
                skipped.append(f"{gateway.name} ({why})")
                continue
            show(gateway, table, faults)
            n_faults += len(faults)
            ran.append(gateway.name)
    print(f"\nran: {', '.join(ran) or 'none'}; skipped: {', '.join(skipped) or 'none'}; {n_faults} differences")
    return 1 if n_faults or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
