"""Spans and logs from OpenTelemetry's own OTLP exporters, over gRPC and HTTP, through `collect` into a topic, and what is read there.

Called by `run`: check_otlp.py TOLLWATCH BOOTSTRAP.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import confluent_kafka
import grpc
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

tollwatch, bootstrap = sys.argv[1:]
TOPIC = "otlp"
TOKEN = "example-token"
N = 500
LINE = '192.0.2.7 - bob [05/Jan/2026:00:00:{:02} +0000] "GET /lines/{} HTTP/1.1" 200 17 "-" "curl/8 \\"x\\""'


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def attributes(path):
    return {"http.request.method": "GET", "url.path": path, "url.scheme": "https", "server.address": "shop.example",
            "http.response.status_code": 200, "client.address": "203.0.113.5", "user.id": "ann",
            "http.request.header.x-request-id": ["r1"]}


def export(way, spans, logs):
    """N server spans, as many client spans, and N logs of each kind."""
    resource = Resource.create({"service.name": f"shop-{way}"})
    tracing, logging = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(spans))
    logging.add_log_record_processor(BatchLogRecordProcessor(logs))
    tracer, logger = tracing.get_tracer("t"), logging.get_logger("l")
    now = time.time_ns()
    for n in range(N):
        with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes=attributes(f"/spans/{way}/{n}")):
            with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=attributes("/inner")):
                pass
        body = {"message": LINE.format(n % 60, f"{way}-map/{n}"), "stream": "stdout", "nested": {"a": [1, 2.5, True]}}
        for fields in ({"body": LINE.format(n % 60, f"{way}/{n}"), "attributes": {"log.file.name": "access.log"}},
                       {"body": body, "attributes": {}},
                       {"body": "GET 200", "attributes": attributes(f"/attributes/{way}/{n}")}):
            logger.emit(LogRecord(timestamp=now, observed_timestamp=now, severity_number=SeverityNumber.INFO, **fields))
    assert tracing.force_flush() and logging.force_flush(), f"{way}: not everything was taken"
    tracing.shutdown()
    logging.shutdown()


def values():
    """The values of the topic."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "enable.partition.eof": True})
    n = len(consumer.list_topics(TOPIC).topics[TOPIC].partitions)
    consumer.subscribe([TOPIC])
    found, ended = [], set()
    while len(ended) < n:
        message = consumer.poll(30)
        assert message is not None, "nothing is read"
        if message.error():
            ended.add(message.partition())
        else:
            found.append(message.value())
    consumer.close()
    return found


def refused(port):
    """The status that a wrong token gets."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            LogsServiceStub(channel).Export(ExportLogsServiceRequest(), metadata=[("authorization", "Bearer wrong")], timeout=10)
        except grpc.RpcError as error:
            return error.code(), error.details()


def main():
    http, rpc = free_port(), free_port()
    command = [tollwatch, "--log", "warn", "collect", "--brokers", bootstrap, "--topic", TOPIC, "--listen", f"127.0.0.1:{http}", "--listen-grpc", f"127.0.0.1:{rpc}"]
    running = subprocess.Popen(command, env={**os.environ, "TOLLWATCH_COLLECT_TOKEN": TOKEN})
    try:
        for port in (http, rpc):
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
        bearer = f"Bearer {TOKEN}"
        plain, packed = grpc.Compression.NoCompression, grpc.Compression.Gzip
        for way, compression in [("grpc", plain), ("grpc-gzip", packed)]:
            of = {"endpoint": f"http://127.0.0.1:{rpc}", "insecure": True, "headers": {"authorization": bearer}, "compression": compression}
            export(way, GrpcSpans(**of), GrpcLogs(**of))
        of = {"headers": {"authorization": bearer}, "compression": Compression.Gzip}
        export("http", HttpSpans(endpoint=f"http://127.0.0.1:{http}/v1/traces", **of), HttpLogs(endpoint=f"http://127.0.0.1:{http}/v1/logs", **of))
        status = refused(rpc)
        assert status == (grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong"), status
    finally:
        running.terminate()
        assert running.wait(60) == 0
    found = values()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        log.write_bytes(b"".join(value + b"\n" for value in found))
        query = "SELECT path, method, status, host, identity, service FROM events"
        done = subprocess.run([tollwatch, "--log", "warn", "query", query, "--from", str(log), "--lanes", "1", "--json"], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    paths = sorted(row["path"] for row in rows)
    ways = ("grpc", "grpc-gzip", "http")
    wanted = sorted(f"{kind.format(way)}/{n}" for way in ways for kind in ("/spans/{}", "/attributes/{}", "/lines/{}", "/lines/{}-map") for n in range(N))
    assert paths == wanted, f"{len(paths)} calls of {len(wanted)}: {sorted(set(wanted) ^ set(paths))[:5]}"
    for row in rows:
        is_line = row["path"].startswith("/lines")
        assert row["method"] == "GET" and row["status"] == 200 and row["identity"], row
        assert is_line or (row["host"] == "shop.example" and row["service"].startswith("shop-")), row
    print(f"OTLP exporters over {', '.join(ways)}: {len(rows)} calls of {len(found)} records, all as they were exported; a wrong token is {status[0].name}")


main()
