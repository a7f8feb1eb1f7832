"""Alerts and findings of the bundled captures as Avro, read by fastavro from files and by Confluent's client from a topic.

Called by `run`: check_avro.py TOLLWATCH BOOTSTRAP. The registry is a small one of its own, so that nothing but Python is needed; its answers are
those of Confluent's API.
"""

import copy
import datetime
import http.server
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

import confluent_kafka
import confluent_kafka.admin
import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

tollwatch, bootstrap = sys.argv[1:]
ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMES = {"time", "first_seen", "last_seen"}
TOPIC = "alerts-avro"


class Registry(http.server.BaseHTTPRequestHandler):
    """Keeps one schema a subject, under ids from 101."""

    protocol_version = "HTTP/1.1"
    schemas = {}

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = re.fullmatch(r"/subjects/([^/]+)(/versions)?(\?.*)?", self.path)
        if subject[2]:
            self.schemas.setdefault(subject[1], (101 + len(self.schemas), asked["schema"]))
        elif subject[1] not in self.schemas:
            self.answer(404, {"error_code": 40401, "message": "Subject not found"})
            return
        number, schema = self.schemas[subject[1]]
        self.answer(200, {"subject": subject[1], "id": number, "version": 1, "schema": schema})

    def do_GET(self):
        number = re.match(r"/schemas/ids/(\d+)", self.path)
        schema = next((schema for known, schema in self.schemas.values() if number and known == int(number[1])), None)
        if schema is None:
            self.answer(404, {"error_code": 40403, "message": "not found"})
        else:
            self.answer(200, {"schema": schema})

    def log_message(self, *_):
        pass


def run(*arguments):
    return subprocess.run([tollwatch, "--log", "warn", *map(str, arguments)], check=True, capture_output=True).stdout


def differences(got, want):
    """What of a record is not what the JSON of the alert says."""
    for name, value in got.items():
        said = want.get(name)
        if name in TIMES:
            said = datetime.datetime.fromisoformat(said)
        if value != said and not (value == [] and said is None):
            yield name, value, said
    yield from ((name, None, want[name]) for name in want.keys() - got.keys() - {"product"})


def check(records, lines, what):
    wants = [json.loads(line) for line in lines]
    assert len(records) == len(wants), f"{what}: {len(records)} records of {len(wants)} alerts"
    for got, want in zip(records, wants):
        found = list(differences(got, want))
        assert not found, f"{what}: {found}"
    print(f"{what}: {len(records)} records say what the JSON says")


def other_versions(schema, data, records):
    """What an older and a newer version of the schema make of this one's records, and this one of theirs."""
    older, newer = copy.deepcopy(schema), copy.deepcopy(schema)
    older["fields"] = [field for field in schema["fields"] if field["name"] not in ("asn", "country", "owasp")]
    newer["fields"].insert(3, {"name": "tenant", "type": ["null", "string"], "default": None})
    newer["fields"] = [field for field in newer["fields"] if field["name"] != "remediation"]
    for name, other in [("an older", older), ("a newer", newer)]:
        read = list(fastavro.reader(io.BytesIO(data), reader_schema=other))
        names = {field["name"] for field in other["fields"]}
        for got, ours in zip(read, records):
            assert got.keys() == names and all(got[key] == ours.get(key) for key in names), name
        written = io.BytesIO()
        fastavro.writer(written, fastavro.parse_schema(copy.deepcopy(other)), read)
        back = list(fastavro.reader(io.BytesIO(written.getvalue()), reader_schema=schema))
        kept = names & {field["name"] for field in schema["fields"]}
        assert len(back) == len(records) and all(got[key] == ours[key] for got, ours in zip(back, records) for key in kept), name
    print("an older and a newer version of the schema read this one's records, and it reads theirs")


def main():
    schema = json.loads(run("render", "--avro-schema"))
    fastavro.parse_schema(copy.deepcopy(schema))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for capture in ("vampi.ndjson.xz", "ledger.log.xz"):
            alerts, findings = folder / "alerts", folder / "findings"
            run("replay", ROOT / "engine/demo" / capture, "--alerts", alerts, "--findings", findings)
            for told in (alerts, findings):
                data = run("render", told, "--as", "avro")
                records = list(fastavro.reader(io.BytesIO(data)))
                check(records, run("render", told, "--as", "json").splitlines(), f"{told.name} of {capture}, fastavro")
        data = run("render", alerts, "--as", "avro")
        records = list(fastavro.reader(io.BytesIO(data)))
        assert records, "no alert was looked at"
        other_versions(schema, data, records)
        confluent(folder, alerts)


def confluent(folder, alerts):
    """Alerts delivered to a topic, and read there as anybody with Confluent's client would."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    config = folder / "tollwatch.toml"
    config.write_text(f"[registry]\nurl = '{url}'\n")
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([confluent_kafka.admin.NewTopic("alerts", 1, 1)]).values():
        created.result()
    for line in alerts.read_bytes().splitlines():
        producer.produce("alerts", line)
    producer.flush()
    run("deliver", "-c", config, "--brokers", bootstrap, "--alerts-topic", "alerts", "--name", "avro", "--to", f"topic:{TOPIC}", "--as", "avro", "--once")
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "enable.partition.eof": True})
    n = len(admin.list_topics(TOPIC).topics[TOPIC].partitions)
    consumer.subscribe([TOPIC])
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": url}))
    records, ended = {}, set()
    while len(ended) < n:
        message = consumer.poll(30)
        assert message is not None, "nothing is read"
        if message.error():
            ended.add(message.partition())
            continue
        record = deserialize(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
        records[record["id"]] = record
    consumer.close()
    lines = run("render", alerts, "--as", "json").splitlines()
    check([records[json.loads(line)["id"]] for line in lines], lines, f"alerts of a topic, Confluent's deserializer, subject {list(Registry.schemas)[0]}")


main()
