"""What brings a log into a topic: the project's collector, and shippers by their recipes."""

import shutil
import subprocess

from gateways import RECIPES, SYSLOG_PORT
from processes import Child, Refused, answers, free_port


class Collector:
    """`tollwatch collect` on its way from a file, or from whoever posts, into a topic."""

    def __init__(self, tollwatch, bootstrap, topic, folder, log):
        self.folder = folder
        # A file is read again from where it was; who posts may send twice what it got no answer to.
        self.kills = bool(log)
        self.metrics = f"127.0.0.1:{free_port()}"
        self.port = None if log else free_port()
        place = ["--file", log] if log else ["--listen", f"127.0.0.1:{self.port}"]
        self.command = [tollwatch, "collect", "--brokers", bootstrap, "--topic", topic, "--topic-prefix", f"{topic}.", "--name", topic,
                        "--metrics", self.metrics, *place]
        self.start()

    def start(self):
        self.child = Child(self.command, self.folder, "collect")
        self.child.await_that(lambda: answers(self.metrics), "is not ready")

    def kill(self):
        self.child.kill()

    def end(self):
        self.child.end()


def posted_to(tollwatch, bootstrap, topic, folder, _):
    """A collector that is posted to."""
    return Collector(tollwatch, bootstrap, topic, folder, None)


class Shipper:
    """A program of somebody else's with a recipe of ours: `sets` are texts of the recipe and what stands for them here."""

    kills = False

    def __init__(self, program, command, recipe, sets, port, tollwatch, bootstrap, topic, folder):
        if not shutil.which(program):
            raise Refused(f"no {program} on PATH")
        # Makes the topic, as a shipper does not.
        made = subprocess.run([tollwatch, "collect", "--brokers", bootstrap, "--topic", topic, "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(f"cannot make the topic {topic}: {made.stderr}")
        self.port = port
        text = (RECIPES / recipe).read_text()
        for old, new in {**sets, "kafka-1:9092": bootstrap}.items():
            if old not in text:
                raise SystemExit(f"{recipe} has no {old!r} any more: change it in tests/gateways/shippers.py too")
            text = text.replace(old, str(new))
        text = text.replace("gateway-logs", topic).replace("gateway-spans", topic)
        config = folder / recipe
        config.write_text(text)
        self.child = Child([part.format(config=config, folder=folder) for part in command], folder, program)
        if port:
            self.child.await_port(port)

    def end(self):
        self.child.end()


def rsyslog(tollwatch, bootstrap, topic, folder, log, port=None):
    command = ["rsyslogd", "-n", "-f", "{config}", "-i", "{folder}/rsyslogd.pid"]
    sets = {"/var/log/nginx/tollwatch.json": log, "/var/lib/rsyslog": folder, 'port="514"': f'port="{port or free_port()}"'}
    return Shipper("rsyslogd", command, "rsyslog.conf", sets, None, tollwatch, bootstrap, topic, folder)


def rsyslog_udp(tollwatch, bootstrap, topic, folder, log):
    """Of a gateway that sends its lines itself."""
    return rsyslog(tollwatch, bootstrap, topic, folder, folder / "none", SYSLOG_PORT)


OTELCOL_FILTER = """  filter/servers:
    traces:
      span: ["kind != SPAN_KIND_SERVER"]
"""


def otelcol(tollwatch, bootstrap, topic, folder, log):
    port = free_port()
    sets = {
        "0.0.0.0:4317": f"127.0.0.1:{free_port()}", "0.0.0.0:4318": f"127.0.0.1:{port}", "/var/log/nginx/tollwatch.json": log,
        "/var/lib/otelcol": folder,
        # Its module cannot be had whole; tollwatch leaves these spans out, too.
        OTELCOL_FILTER: "", "[filter/servers, batch]": "[batch]",
        # It would listen on a port of its own.
        "service:\n": "service:\n  telemetry: { metrics: { level: none } }\n",
    }
    return Shipper("otelcol", ["otelcol", "--config", "{config}"], "otel-collector.yaml", sets, port, tollwatch, bootstrap, topic, folder)


def otelcol_spans(tollwatch, bootstrap, topic, folder, _):
    """Of a service that posts its spans."""
    return otelcol(tollwatch, bootstrap, topic, folder, folder / "none")


PIPES = {
    "collect": Collector,
    "collect-http": posted_to,
    "rsyslog": rsyslog,
    "rsyslog-udp": rsyslog_udp,
    "otelcol": otelcol,
    "otelcol-spans": otelcol_spans,
}
