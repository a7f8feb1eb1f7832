"""The way of a log through Kafka: brought into a topic by a collector or a shipper, read by the service, asked of its lake."""

import json
import pathlib
import shutil
import subprocess
import time

from processes import Child, Refused, answers, free_port

HERE = pathlib.Path(__file__).resolve().parent
KAFKA = HERE.parent / "kafka"
# From a call to its row in the lake, on a machine that builds something beside it.
ARRIVE_SECONDS_MAX = 60
# What comes twice comes within this after the last.
AFTER_SECONDS = 3

SERVICE = """brokers = "{bootstrap}"
group = "{topic}"
# One name, so that a killed one's partitions come back at once.
instance = "gateways"
state = "{folder}/state"
listen = "127.0.0.1:{metrics}"

[[sources]]
topic = "{topic}"

[topics]
prefix = "{topic}."
alerts = "{topic}.alerts"
partitions = 2

[snapshots]
every_seconds = 1

[lake]
url = "file://{folder}/lake"
every_seconds = 1
"""


class Broker:
    """One Kafka broker of tests/kafka, in a folder."""

    def __init__(self, folder):
        if not shutil.which("java"):
            raise Refused("no java on PATH (tests/kafka/install)")
        self.folder = folder / "kafka"
        up = subprocess.run([KAFKA / "up", "--dir", self.folder], capture_output=True, text=True)
        if up.returncode:
            raise Refused(f"no Kafka: {up.stderr.strip()[-300:]}")
        self.bootstrap = up.stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run([KAFKA / "down", "--dir", self.folder], capture_output=True)


class Loop:
    """A topic from where it is filled to the lake of the service that reads it."""

    def __init__(self, tollwatch, bootstrap, topic, folder, bring, log):
        """`bring` starts what fills the topic of `log`, given `(tollwatch, bootstrap, topic, folder, log)`."""
        folder.mkdir()
        self.tollwatch, self.folder, self.topic = tollwatch, folder, topic
        self.pipe = bring(tollwatch, bootstrap, topic, folder, log)
        self.metrics = free_port()
        self.config = folder / "tollwatch.toml"
        self.config.write_text(SERVICE.format(bootstrap=bootstrap, topic=topic, folder=folder, metrics=self.metrics))
        self.serve()

    def serve(self):
        self.service = Child([self.tollwatch, "run", "-c", self.config], self.folder, "run")
        self.service.await_that(lambda: answers(f"127.0.0.1:{self.metrics}"), "is not ready")

    def kill_service(self):
        self.service.kill()
        self.serve()

    def rows(self, sql):
        command = [self.tollwatch, "query", sql, "--lake", self.folder / "lake", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        # Before its first file a lake cannot be asked.
        return [json.loads(line) for line in done.stdout.splitlines()] if not done.returncode else []

    def arrived(self, sql, n_expected):
        """The rows, when all came and time passed in which one that is twice would have come, too; or what came by then."""
        until = time.monotonic() + ARRIVE_SECONDS_MAX
        while len(rows := self.rows(sql)) < n_expected and time.monotonic() < until:
            time.sleep(0.5)
        if len(rows) == n_expected:
            time.sleep(AFTER_SECONDS)
            rows = self.rows(sql)
        return rows

    def end(self):
        self.pipe.end()
        self.service.end()

    def told(self):
        return self.service.told()
