"""Holds a lake and snapshots in a real S3 store to those in a folder.

Called by `run`, which has the usage. Everything is on loopback; every process that is started is ended, every file is in one temporary folder.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile
import time

from s3 import Store

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS_MAX = 60
RUN_SECONDS_MAX = 300
BUCKET = "tollwatch"
N_LINES = 20_000
ASKED = [
    "SELECT count(*) AS n, count(DISTINCT identity) AS identities, min(event_time) AS first, max(event_time) AS last FROM events",
    "SELECT hour, status, count(*) AS n, sum(response_bytes) AS bytes FROM events WHERE identity LIKE 'user1%' GROUP BY hour, status ORDER BY hour, status",
    "SELECT lane, lane_offset, lane_row, path FROM events WHERE date = '2026-01-05' AND hour = '11' ORDER BY lane, lane_offset, lane_row LIMIT 50",
]

n_checks, faults = 0, []


def check(holds, what, seen=""):
    global n_checks
    n_checks += 1
    print(f"{'holds' if holds else 'FAILS'}  {what}{f': {seen}' if seen != '' else ''}")
    if not holds:
        faults.append(what)


def lines(first, n):
    """Calls in the combined format: 200 callers over six hours, from a seed."""
    dice, out = 88172645463325252, []
    begin = datetime.datetime(2026, 1, 5, 9)
    for i in range(first, first + n):
        dice = (dice ^ (dice << 13)) & (2**64 - 1)
        dice ^= dice >> 7
        dice = (dice ^ (dice << 17)) & (2**64 - 1)
        at = begin + datetime.timedelta(milliseconds=i * 6 * 3_600_000 // (2 * N_LINES))
        status = [200, 200, 200, 404, 403][dice % 5]
        out.append(
            f'192.0.2.{dice % 250} - user{dice % 200} [{at:%d/%b/%Y:%H:%M:%S} +0000] '
            f'"GET /orders/{dice // 1000 % 3000} HTTP/1.1" {status} {dice % 9000} "-" "client/1.0"'
        )
    return out


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """The S3 server over a folder."""

    def __init__(self, program, folder, log):
        self.address, self.folder = f"127.0.0.1:{free_port()}", folder
        self.key, self.secret = secrets.token_hex(8), secrets.token_hex(16)
        folder.mkdir()
        environment = {**os.environ, "ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}
        command = [program, "--port", self.address, "--quiet", "posix", str(folder)]
        self.process = subprocess.Popen(command, env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT)
        self.store = Store(self.address, self.key, self.secret)
        began = time.monotonic()
        while True:
            try:
                if self.store.ask("GET", "/")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or START_SECONDS_MAX < time.monotonic() - began:
                self.end()
                sys.exit(f"s3: the server does not start: {log.read_text()}")
            time.sleep(0.1)

    def environment(self, secret=None):
        return {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": secret or self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": f"http://{self.address}",
            "AWS_ALLOW_HTTP": "true",
        }

    def objects(self, prefix):
        """{name: bytes} of what is below a prefix, as the store's own folder has it."""
        root = self.folder / BUCKET / prefix
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def end(self):
        self.process.terminate()
        self.process.wait()


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Tollwatch:
    def __init__(self, program, environment):
        self.program, self.environment = program, environment

    def __call__(self, *arguments, environment=None):
        command = [self.program, *map(str, arguments)]
        return subprocess.run(command, env=environment or self.environment, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)

    def told(self, *arguments):
        """What a command that must succeed printed."""
        done = self(*arguments)
        if done.returncode != 0:
            sys.exit(f"s3: {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr}")
        return done.stdout


def conditional(server):
    """What the store itself says of writes that are only to hold when nothing is there."""
    store = server.store
    first, second = (store.create(f"/{BUCKET}/created", text) for text in [b"first", b"second"])
    check((first, second) == (200, 412), "If-None-Match: * creates an object and then refuses", f"{first}, {second}")
    check(store.ask("GET", f"/{BUCKET}/created")[1] == b"first", "the refused write changed nothing")
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        writes = [threads.submit(store.create, f"/{BUCKET}/raced", b"%d" % i) for i in range(16)]
        statuses = sorted(write.result() for write in writes)
    check(statuses.count(200) == 1, "of 16 writers at once one creates an object", statuses)


def lake(tollwatch, server, folder):
    """`replay --lake` and `query`, over S3 and over a folder."""
    log = folder / "access.log"
    log.write_text("\n".join(lines(0, N_LINES)) + "\n")
    at_s3, at_folder = f"s3://{BUCKET}/lake", folder / "lake"
    replay = ["replay", log, "--lanes", "2", "--json", "--lake"]
    reports = [json.loads(tollwatch.told(*replay, at).splitlines()[-1]) for at in (at_s3, at_folder)]
    check(reports[0]["lake"] == reports[1]["lake"], "replay --lake says the same of both", reports[0]["lake"])
    check(reports[0]["lake"]["rows"] == N_LINES, "and has every line")
    there, here = server.objects("lake"), files(at_folder)
    check(sorted(there) == sorted(here), "the objects have the names of the files", f"{len(there)} and {len(here)}")
    parquet = [name for name in here if name.endswith(".parquet")]
    same = [name for name in parquet if there.get(name) == here[name]]
    check(parquet and len(same) == len(parquet), "the Parquet files are byte for byte those of the folder", f"{len(same)} of {len(parquet)}")
    for sql in ASKED:
        answers = [tollwatch.told("query", sql, "--lake", at, "--json") for at in (at_s3, at_folder)]
        check(answers[0] == answers[1] and answers[0].strip(), "query answers the same of both", f"{answers[0].splitlines()[0][:110]}")
    again = [tollwatch(*replay, at) for at in (at_s3, at_folder)]
    said = [done.stderr.replace(str(at), "LAKE") for done, at in zip(again, (at_s3, at_folder))]
    check({done.returncode for done in again} == {1} and said[0] == said[1], "a second replay into it is refused", said[0].strip()[:110])
    # Two at the same time into one that is empty: the ledger's entries are created, so one of them ends.
    command = [tollwatch.program, *map(str, replay), f"s3://{BUCKET}/raced-lake"]
    racing = [subprocess.Popen(command, env=tollwatch.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate(timeout=RUN_SECONDS_MAX), process.returncode) for process in racing]
    codes = sorted(code for _, code in ends)
    refused = next((error.strip().splitlines()[-1] for (_, error), code in ends if code), "")
    check(codes in ([0, 1], [1, 1]), "of two replays at once into one lake one is refused at least", f"{codes}, {refused[:110]}")
    sql = "SELECT count(*) AS n, count(DISTINCT source_offset) AS lines FROM events"
    counts = json.loads(tollwatch.told("query", sql, "--lake", f"s3://{BUCKET}/raced-lake", "--json"))
    check(counts["n"] == counts["lines"], "and no line is there twice", counts)
    wrong = tollwatch("query", ASKED[0], "--lake", at_s3, environment=server.environment("not the secret"))
    refused, shown = "SignatureDoesNotMatch" in wrong.stderr, server.secret in wrong.stderr or "not the secret" in wrong.stderr
    check(wrong.returncode == 1 and refused and not shown, "a wrong secret is told, and no secret shown", f"exit code {wrong.returncode}")


def service(tollwatch, server, folder):
    """The service with its snapshots and its lake in S3, stopped and started again."""
    kafka = HERE.parent / "kafka"
    bootstrap = subprocess.run([kafka / "up", "--dir", folder / "kafka"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        common = ["--brokers", bootstrap, "--source-topic", "s3-test", "--partitions", "2", "--snapshots-url", f"s3://{BUCKET}/snapshots"]
        common += ["--state", folder / "state", "--lake-url", f"s3://{BUCKET}/service-lake", "--snapshots-every-seconds", "1"]
        to = ["--bootstrap-server", bootstrap, "--topic", "s3-test"]
        make = [kafka / "tool", "org.apache.kafka.tools.TopicCommand", *to, "--create", "--partitions", "2"]
        subprocess.run(make, check=True, capture_output=True)
        n = 0
        for part in range(2):
            text = "\n".join(lines(part * N_LINES // 2, N_LINES // 2)) + "\n"
            produce = [kafka / "tool", "org.apache.kafka.tools.ConsoleProducer", *to]
            subprocess.run(produce, check=True, capture_output=True, input=text, text=True)
            n += N_LINES // 2
            done = tollwatch("run", *common, "--exit-when-caught-up", "--listen", "")
            check(done.returncode == 0, f"run {part + 1} with snapshots and lake in S3 ends cleanly", done.stderr.strip()[-300:] if done.returncode else "")
            back = [line for line in done.stderr.splitlines() if "lane put back" in line and "snapshot=Some" in line]
            check(bool(back) == bool(part), f"run {part + 1} puts {'lanes' if part else 'no lane'} back from snapshots", len(back))
            rows = json.loads(tollwatch.told("query", ASKED[0], "--lake", f"s3://{BUCKET}/service-lake", "--json"))
            check(rows["n"] == n, "each event is in the lake once", rows["n"])
        report = tollwatch("verify", *common[:6], "--snapshots-url", f"s3://{BUCKET}/snapshots", "--state", folder / "state")
        check(report.returncode == 0, "verify finds every stage's output right", report.stdout.strip().splitlines()[-1:] or report.stderr[-300:])
        told = tollwatch("check", *common)
        check(told.returncode == 0, "check finds conditional writes in both stores", (told.stdout + told.stderr).strip().splitlines()[-1:])
    finally:
        subprocess.run([kafka / "down", "--dir", folder / "kafka"], capture_output=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("server")
    arguments.add_argument("tollwatch")
    arguments.add_argument("--kafka", action="store_true")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollwatch-s3-") as folder:
        folder = pathlib.Path(folder)
        server = Server(arguments.server, folder / "s3", folder / "s3.log")
        try:
            status, body, _ = server.store.ask("PUT", f"/{BUCKET}")
            if status != 200:
                sys.exit(f"s3: the server makes no bucket: {status} {body}")
            tollwatch = Tollwatch(arguments.tollwatch, server.environment())
            conditional(server)
            lake(tollwatch, server, folder)
            if arguments.kafka:
                service(tollwatch, server, folder)
        finally:
            server.end()
    print(f"tests/s3/run: {n_checks - len(faults)} of {n_checks} checks hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
