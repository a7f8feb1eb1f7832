"""Starts each gateway in front of a small service, sends requests through it, and holds what `tollwatch` reads of its log against them.

Called by `run`, which has the usage. Everything is on loopback; every process that is started is ended, every file is in one temporary folder.
"""

import argparse
import contextlib
import difflib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import wire
from gateways import GATEWAYS, RECIPES
from loop import Broker, Loop
from shippers import PIPES
from processes import Child, Refused, free_port
from service import Server, Service
from traffic import API_KEY, QUERY_SECRET, Issuer, requests

# A gateway that buffers its log writes it within this.
LOG_SECONDS_MAX = 15
# Longer than any of them holds lines back.
LOG_SECONDS_QUIET = 1.5
COLUMNS = (
    "gateway, event_time, method, path, query, status, host, client_ip, user_agent, origin, identity_kind, identity, rpc_method, tool, "
    "request_bytes, response_bytes"
)
EVENTS_SQL = f"SELECT {COLUMNS} FROM events ORDER BY event_time, source_offset, source_row"
# Head of an answer that a gateway adds to or counts in.
HEAD_BYTES_MAX = 2048


class Running:
    """A gateway at work in its folder."""

    def __init__(self, gateway, folder, service_port):
        self.gateway, self.folder = gateway, folder
        self.names = {"folder": folder, "port": free_port(), "port2": free_port(), "service": service_port}
        self.names["recipe"] = folder / gateway.recipe
        # The interpreter that has what the gateways need.
        self.names["python"] = sys.executable
        text = self.set(gateway.recipe, gateway.sets)
        self.names["recipe"].write_text(gateway.edit(text, self.names) if gateway.edit else text)
        for name, sets in gateway.beside:
            (folder / name).write_text(self.set(name, sets))
        if gateway.wrap:
            self.names["wrapper"] = folder / "wrapper.conf"
            self.names["wrapper"].write_text(gateway.wrap(folder, self.names["recipe"]))

    def set(self, name, sets):
        text = (RECIPES / name).read_text()
        for old, new in sets.items():
            old = old.format()
            if old not in text:
                raise SystemExit(f"{name} has no {old!r} any more: change it in tests/gateways/gateways.py too")
            text = text.replace(old, new.format(**self.names))
        return text

    def command(self, parts):
        return [part.format(**self.names) for part in parts]

    def __enter__(self):
        environment = {**os.environ, "HOME": str(self.folder), "TZ": "Pacific/Auckland", **self.gateway.environment}
        checked = subprocess.run(self.command(self.gateway.check), capture_output=True, text=True, env=environment, timeout=60)
        if checked.returncode:
            raise SystemExit(f"{self.gateway.recipe} is refused by {self.gateway.program}:\n{checked.stdout}{checked.stderr}")
        self.child = Child(self.command(self.gateway.start), self.folder, self.gateway.name, environment, self.folder / "out")
        self.child.await_port(self.names["port"])
        return self

    def __exit__(self, *_):
        self.child.end()

    def log(self):
        return pathlib.Path(self.gateway.log.format(**self.names))

    def send(self, request):
        return wire.send(self.names[self.gateway.http2 if request.http2 else "port"], request)


def wait_for(log):
    """Returns when nothing more came into the log for LOG_SECONDS_QUIET."""
    size, until = None, time.monotonic() + LOG_SECONDS_MAX
    while time.monotonic() < until:
        time.sleep(LOG_SECONDS_QUIET)
        before, size = size, log.stat().st_size if log.exists() else 0
        if size and size == before:
            return


def decoded(tollwatch, log):
    command = [tollwatch, "query", EVENTS_SQL, "--from", str(log), "--lanes", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def differences(gateway, request, row, answered):
    """What of a row is not as sent: (column, expected, read)."""
    expected = {**request.expected(), "gateway": gateway.gateway}
    for name in ("*", "*, HTTP/2" if request.http2 else "*", request.name, label(request)):
        expected.update(gateway.shows.get(name) or {})
    if expected["identity_kind"] == "ip_ua":
        # A hash.
        expected.pop("identity", None)
    if answered != expected["status"]:
        yield "status answered", expected["status"], answered
    for column, value in expected.items():
        if row.get(column) != value:
            yield column, value, row.get(column)
    if request.status == 200 and "response_bytes" not in expected:
        size = row.get("response_bytes")
        if size is None or not len(Service.body) <= size <= len(Service.body) + HEAD_BYTES_MAX:
            yield "response_bytes", f"{len(Service.body)} and up to a head", size
    size = row.get("request_bytes")
    if size is not None and not len(request.body) <= size <= len(request.wire()) + HEAD_BYTES_MAX:
        yield "request_bytes", f"at most {len(request.wire())} and what the gateway adds", size


def label(request):
    return f"{request.name}, HTTP/2" if request.http2 else request.name


def matched(asked, rows):
    """Pairs requests with rows, each in its order; None stands for what is missing. A row that is missing must not shift the others."""
    of_requests = [(request.method, request.expected()["path"]) for request in asked]
    of_rows = [(row["method"], row["path"]) for row in rows]
    for _, i, i_end, j, j_end in difflib.SequenceMatcher(None, of_requests, of_rows, autojunk=False).get_opcodes():
        yield from itertools.zip_longest(asked[i:i_end], rows[j:j_end])


class Attempt:
    """What was sent through one gateway, what was answered, and how what is read of it differs."""

    def __init__(self, gateway, asked):
        self.gateway, self.asked, self.answered, self.faults = gateway, asked, [], []

    def fault(self, *fault):
        self.faults.append(fault)

    def n_logged(self):
        return sum(self.gateway.logs(label(request)) for request in self.asked)

    def send(self, running, loops):
        """Sends all; collectors are killed after a third of it and come back after two, the service is killed when all runs again."""
        # Those who wait for the gateway's port leave a line of their own in some logs.
        time.sleep(self.gateway.settles_seconds)
        self.began = time.time()
        part = len(self.asked) // 6
        for i, request in enumerate(self.asked):
            for loop in loops.values():
                if loop.pipe.kills and i == 2 * part:
                    loop.pipe.kill()
                elif loop.pipe.kills and i == 4 * part:
                    loop.pipe.start()
                elif i == 5 * part:
                    loop.kill_service()
            self.answered.append(running.send(request))
            time.sleep(0.05)
        self.ended = time.time()

    def compare(self, way, rows, told):
        """Holds rows that came some way against what was sent; returns them, each with its request and differences."""
        table = []
        answered = dict(zip(self.asked, self.answered))
        logged = [request for request in self.asked if self.gateway.logs(label(request))]
        if len(rows) != len(logged):
            self.fault(way, "rows", len(logged), f"{len(rows)}; {told.strip()[-500:]}")
        for request, row in matched(logged, rows):
            if request is None or row is None:
                self.fault(way, "call", request and label(request), row and f"{row['method']} {row['path']}")
                continue
            found = list(differences(self.gateway, request, row, answered[request]))
            self.faults += [(f"{way}: {label(request)}", *difference) for difference in found]
            table.append((request, row, found))
        if any(QUERY_SECRET in json.dumps(row) for row in rows):
            self.fault(way, "secret of a query", "none", "in an event")
        times = sorted(str(row["event_time"]) for row in rows)
        stamp = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        if times and not stamp(self.began - 2) <= times[0][:19].replace(" ", "T") <= times[-1][:19].replace(" ", "T") <= stamp(self.ended + 2):
            self.fault(way, "event_time", f"{stamp(self.began)} to {stamp(self.ended)}", f"{times[0]} to {times[-1]}")
        return table


def try_gateway(gateway, tollwatch, bootstrap, folder, service_port, asked, secrets, keep):
    """Returns the attempt, its table, and the names of the ways through Kafka that were taken."""
    if not shutil.which(gateway.program):
        raise Refused(f"no {gateway.program} on PATH")
    running = Running(gateway, folder, service_port)
    if gateway.http2 and wire.h2:
        asked = [*asked, *(request.over_http2() for request in asked if not request.target.startswith("http"))]
    attempt = Attempt(gateway, asked)
    loops, skipped = {}, []
    with contextlib.ExitStack() as ends:
        for pipe in gateway.pipes if bootstrap else ():
            try:
                loops[pipe] = Loop(tollwatch, bootstrap, f"{gateway.name}.{pipe}", folder / pipe, PIPES[pipe], running.log())
            except Refused as why:
                skipped.append(f"{pipe} ({why})")
                continue
            ends.callback(loops[pipe].end)
        running.names["otlp"] = ",".join(f"http://127.0.0.1:{loop.pipe.port}/v1/traces" for loop in loops.values() if loop.pipe.port) or "-"
        with running:
            attempt.send(running, loops)
            wait_for(running.log())
            for pipe, loop in loops.items():
                attempt.compare(pipe, loop.arrived(EVENTS_SQL, attempt.n_logged()), loop.told())
    if keep:
        shutil.copy(running.log(), pathlib.Path(keep) / f"{gateway.name}.log")
    table = attempt.compare("file", *decoded(tollwatch, running.log()))
    text = running.log().read_text(errors="replace")
    for what, secret in secrets:
        if secret in text:
            attempt.fault("file", "secret in the log", "none", what)
    return attempt, table, list(loops), skipped


def brief(value):
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}… of {len(text)}"


def show(attempt, table, ways):
    print(f"\n{attempt.gateway.name}: {len(attempt.asked)} calls, read from {', '.join(['its file', *ways])}: {len(attempt.faults)} differences")
    print(f"  {'request':<32} {'status':>6}  {'identity':<22} {'tool':<12} path and query")
    for request, row, found in table:
        who = f"{row['identity_kind']} {row['identity']}"[:22]
        query = "" if row.get("query") is None else "?" + row["query"]
        mark = "!" if found else " "
        asked = ascii(row["path"] + query)[1:-1][:60]
        print(f"{mark} {label(request):<32} {row.get('status') or '-':>6}  {who:<22} {row.get('tool') or '-':<12} {asked}")
    for name, column, expected, read in attempt.faults:
        print(f"  DIFFERS {name}: {column} is {brief(read)}, expected {brief(expected)}")


@contextlib.contextmanager
def broker(work, wanted):
    """Addresses of a Kafka, or None where none is wanted or can be had."""
    if not wanted:
        yield None
        return
    try:
        kafka = Broker(work)
    except Refused as why:
        print(f"without Kafka: {why}")
        yield None
        return
    with kafka:
        yield kafka.bootstrap


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("tollwatch", help="the binary")
    arguments.add_argument("gateways", nargs="*", help="names; all when absent")
    arguments.add_argument("--keep", help="folder that the logs are copied into")
    arguments.add_argument("--no-kafka", action="store_true", help="read the logs' files only")
    given = arguments.parse_args()
    known = {gateway.name: gateway for gateway in GATEWAYS}
    if unknown := set(given.gateways) - set(known):
        raise SystemExit(f"unknown gateway {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    wanted = [known[name] for name in given.gateways or known]
    n_faults, ran, skipped = 0, [], []
    with tempfile.TemporaryDirectory(prefix="tollwatch-gateways-") as work, broker(pathlib.Path(work), not given.no_kafka) as bootstrap:
        work = pathlib.Path(work)
        # Gateways that drop their rights read their files all the same.
        work.chmod(0o755)
        issuer = Issuer(work)
        asked = requests(issuer)
        Service.tokens = issuer.tokens
        shown = [dict(request.headers).get("Authorization", "") for request in asked]
        secrets = [
            ("an API key", API_KEY),
            *(("a token's signature", token.rsplit(".", 1)[1]) for token in issuer.tokens),
            *(("a password", value.removeprefix("Basic ")) for value in shown if value.startswith("Basic ")),
        ]
        service = Server(("127.0.0.1", 0), Service)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        for gateway in wanted:
            folder = work / gateway.name
            folder.mkdir()
            folder.chmod(0o777)
            for name in ("jwt.pem", "jwks.json"):
                shutil.copy(work / name, folder / name)
            (folder / "tokens.json").write_text(json.dumps(issuer.tokens))
            (folder / "htpasswd").write_text("bob:{SHA}VV2iDfINQXLgDxtz18OUOAIFUnA=\n")
            try:
                attempt, table, ways, not_taken = try_gateway(
                    gateway, given.tollwatch, bootstrap, folder, service.server_address[1], asked, secrets, given.keep)
            except Refused as why:
                skipped.append(f"{gateway.name} ({why})")
                continue
            show(attempt, table, ways)
            n_faults += len(attempt.faults)
            ran.append(f"{gateway.name} ({', '.join(['file', *ways])})")
            skipped += [f"{gateway.name} by {way}" for way in not_taken]
    print(f"\nran: {', '.join(ran) or 'none'}; skipped: {', '.join(skipped) or 'none'}; {n_faults} differences")
    return 1 if n_faults or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
