"""Values as the serializers of others write them, for ../values.rs: writes values.json beside it.

    pip install fastavro==1.13.1 'confluent-kafka[avro,protobuf,schemaregistry]==2.16.1' grpcio-tools==1.85.1 zstandard==0.25.0 lz4==4.4.5
    mvn dependency:copy -Dartifact=org.xerial.snappy:snappy-java:1.1.10.7 -DoutputDirectory=.
    python make.py

What each value must become is what was given to the serializer (Avro), or what Google's own library makes of the message (Protobuf).
"""

import gzip
import importlib
import json
import pathlib
import subprocess
import sys
import tempfile
from decimal import Decimal
from io import BytesIO

import fastavro
import lz4.frame
import zstandard
from confluent_kafka.schema_registry.serde import SchemaId
from google.protobuf import json_format
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
GUID = "89791762-2336-4186-9674-299b90a802e2"
answers, values = {}, []


def answer(path, schema, kind=None, references=()):
    said = {"schema": schema if isinstance(schema, str) else json.dumps(schema)}
    if kind:
        said["schemaType"] = kind
    if references:
        said["references"] = [{"name": name, "subject": subject, "version": version} for name, subject, version in references]
    answers[path] = said


def value(name, payload, text, header=None):
    values.append({"name": name, "value": payload.hex(), "header": header and header.hex(), "text": text})


# What Kong logs, and what Istio does: the decoders must not see that it was ever something else than JSON.
KONG = {
    "started_at": 1767607805154,
    "client_ip": "203.0.113.7",
    "request": {"method": "GET", "uri": "/accounts/42/cards?limit=5", "size": 412,
                "headers": {"host": "api.example.com", "user-agent": "app/2.1 \"ü\"", "x-api-key": "k-1"}},
    "response": {"status": 200, "size": 1532, "headers": {"content-type": "application/json"}},
    "latencies": {"request": 31.5},
    "consumer": {"username": "alice"},
    "route": None,
    "service": {"name": "cards"},
}
NAMED = {"type": "record", "name": "Named", "fields": [{"name": "name", "type": "string"}]}
KONG_SCHEMA = {
    "type": "record", "name": "Call", "namespace": "example.gateway", "fields": [
        {"name": "started_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "client_ip", "type": ["null", "string"], "default": None},
        {"name": "request", "type": {"type": "record", "name": "Request", "fields": [
            {"name": "method", "type": {"type": "enum", "name": "Method", "symbols": ["GET", "POST"]}},
            {"name": "uri", "type": {"type": "string", "avro.java.string": "String"}},
            {"name": "size", "type": "int"},
            {"name": "headers", "type": {"type": "map", "values": "string"}}]}},
        {"name": "response", "type": {"type": "record", "name": "Response", "fields": [
            {"name": "status", "type": "int"}, {"name": "size", "type": "long"},
            {"name": "headers", "type": {"type": "map", "values": "string"}}]}},
        {"name": "latencies", "type": {"type": "record", "name": "Latencies", "fields": [{"name": "request", "type": "double"}]}},
        {"name": "consumer", "type": {"type": "record", "name": "Consumer", "fields": [{"name": "username", "type": "string"}]}},
        {"name": "route", "type": ["null", NAMED]},
        {"name": "service", "type": ["null", "Named"]},
    ]}


def avro(schema, datum, named=()):
    out, names = BytesIO(), {}
    for before in named:
        fastavro.parse_schema(before, named_schemas=names)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas=names), datum)
    return out.getvalue()


def framed(number, kind="AVRO", indexes=None):
    return SchemaId(kind, schema_id=number, message_indexes=indexes).id_to_bytes()


def in_header(guid, kind="AVRO", indexes=None):
    return SchemaId(kind, guid=guid, message_indexes=indexes).guid_to_bytes()


answer("/schemas/ids/1", KONG_SCHEMA)
answer(f"/schemas/guids/{GUID}", KONG_SCHEMA, "AVRO")
kong = avro(KONG_SCHEMA, KONG)
value("avro: a record", framed(1) + kong, KONG)
value("avro: the schema in a header", kong, KONG, in_header(GUID))
value("avro: the schema's number in a header", kong, KONG, framed(1))
value("avro: packed by gzip", gzip.compress(framed(1) + kong, mtime=0), KONG)

everything = {
    "type": "record", "name": "all.Types", "fields": [
        {"name": "nothing", "type": "null"},
        {"name": "flags", "type": {"type": "array", "items": "boolean"}},
        {"name": "ints", "type": {"type": "array", "items": "int"}},
        {"name": "longs", "type": {"type": "array", "items": "long"}},
        {"name": "float", "type": "float"},
        {"name": "doubles", "type": {"type": "array", "items": "double"}},
        {"name": "text", "type": "string"},
        {"name": "bytes", "type": "bytes"},
        {"name": "no_text", "type": "bytes"},
        {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "decimals", "type": {"type": "array", "items": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3}}},
        {"name": "fixed_decimal", "type": {"type": "fixed", "name": "Eight", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "again", "type": "Four"},
        {"name": "list", "type": {"type": "record", "name": "Node", "namespace": "other", "fields": [
            {"name": "n", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}},
        {"name": "tail", "type": "other.Node"},
        {"name": "tree", "type": {"type": "map", "values": {"type": "array", "items": {"type": "map", "values": "long"}}}},
        {"name": "empty", "type": {"type": "array", "items": "string"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    ]}
datum = {
    "nothing": None, "flags": [True, False], "ints": [0, -1, 1, -2147483648, 2147483647],
    "longs": [-9223372036854775808, 9223372036854775807, 64, -65], "float": 0.25, "doubles": [1e300, -0.5],
    "text": "a\u0000\u001b\"\\\u20ac\U0001f600", "bytes": "gr\u00fcn".encode(), "no_text": b"\xff\x00", "fixed": b"abcd",
    "decimals": [Decimal("1.500"), Decimal("-0.001"), Decimal("0.000"), Decimal("123456789.125")], "fixed_decimal": Decimal("-12.25"),
    "again": b"wxyz", "list": {"n": 1, "next": {"n": 2, "next": {"n": 3, "next": None}}}, "tail": {"n": 4, "next": None},
    "tree": {"a": [{"b": 1}, {}], "": []}, "empty": [], "day": 20454,
}
expected = datum | {"bytes": "gr\u00fcn", "no_text": "/wA=", "fixed": "abcd", "again": "wxyz", "decimals": [1.5, -0.001, 0.0, 123456789.125], "fixed_decimal": -12.25}
answer("/schemas/ids/2", everything, "AVRO")
value("avro: every type", framed(2) + avro(everything, datum), expected)

host = {"type": "record", "name": "example.Host", "fields": [{"name": "name", "type": "string"}]}
client = {"type": "record", "name": "example.Client", "fields": [{"name": "at", "type": "example.Host"}, {"name": "ip", "type": "string"}]}
call = {"type": "record", "name": "example.Call", "fields": [
    {"name": "host", "type": "Host"}, {"name": "client", "type": ["null", "example.Client"]}]}
answer("/subjects/host%2Fvalue/versions/1", host)
answer("/subjects/client/versions/3", client, references=[("example.Host", "host/value", 1)])
answer("/schemas/ids/3", call, references=[("example.Client", "client", 3), ("example.Host", "host/value", 1)])
datum = {"host": {"name": "a"}, "client": {"at": {"name": "b"}, "ip": "::1"}}
value("avro: a schema that refers to others", framed(3) + avro(call, datum, [host, client]), datum)

LINE = '203.0.113.7 - alice [05/Jan/2026:11:50:05 +0100] "GET /orders/5 HTTP/1.1" 200 512 "-" "curl/8.5"'
answer("/schemas/ids/4", '"string"')
value("avro: a line", framed(4) + avro("string", LINE), LINE)
answer("/schemas/ids/5", '"bytes"')
value("avro: a line of bytes, as Confluent's serializer writes them", framed(5) + LINE.encode(), LINE)

PROTO = """
syntax = "proto3";
package example;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "example/common.proto";

message Call {
  google.protobuf.Timestamp start_time = 1;
  string method = 2;
  string path = 3;
  string authority = 4;
  uint32 response_code = 5;
  uint64 bytes_sent = 6;
  int64 bytes_received = 7;
  double duration = 8;
  string downstream_remote_address = 9;
  string user_agent = 10 [json_name = "user-agent"];
  google.protobuf.StringValue request_id = 11;
  optional string jwt_sub = 12;
}

message Other {
  message Inner {
    enum Kind { NONE = 0; SOME = 1; }
    Kind kind = 1;
    repeated Kind kinds = 2;
    repeated sint32 packed_ints = 3;
    bytes raw_bytes = 4;
    map<string, Inner> by_name = 5;
    map<int32, bool> by_number = 6;
    oneof which { string a_text = 7; int32 a_number = 8; }
    example.Common common = 9;
    float ratio = 10;
    fixed64 big = 11;
    bool flag = 12;
    Inner child = 13;
  }
  string unused = 1;
}
"""
COMMON = 'syntax = "proto2";\npackage example;\nmessage Common { required int32 must_be = 1; optional group Group = 2 { optional string in_group = 1; } }\n'
with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    (root / "example").mkdir()
    (root / "main.proto").write_text(PROTO)
    (root / "example/common.proto").write_text(COMMON)
    import grpc_tools
    wkt = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{root}", f"-I{wkt}", f"--python_out={root}", "main.proto", "example/common.proto"]) == 0
    sys.path.insert(0, str(root))
    importlib.import_module("example.common_pb2")
    main = importlib.import_module("main_pb2")


def ours(tree):
    """As we write it: a name given for JSON, and numbers that the mapping writes as text because JavaScript has no such."""
    if isinstance(tree, list):
        return [ours(of) for of in tree]
    if not isinstance(tree, dict):
        return tree
    renamed = {"user_agent": "user-agent"}
    return {renamed.get(key, key): int(of) if key in ("big", "bytes_sent", "bytes_received") else ours(of) for key, of in tree.items()}


def protobuf(message):
    tree = json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return message.SerializeToString(), ours(tree)


ISTIO = main.Call(method="GET", path="/orders/5?x=1", authority="shop.example.com", response_code=200, bytes_sent=9007199254740993,
                  bytes_received=0, duration=12, downstream_remote_address="203.0.113.9:51000", user_agent="curl/8.5", jwt_sub="u-1")
ISTIO.start_time.FromJsonString("2026-01-05T10:50:05.154Z")
ISTIO.request_id.value = "r-1"
answer("/schemas/ids/6", PROTO, "PROTOBUF", [("example/common.proto", "common", 1)])
answer("/subjects/common/versions/1", COMMON, "PROTOBUF")
answer("/schemas/guids/00000000-0000-0000-0000-0000000000ff", PROTO, "PROTOBUF", [("example/common.proto", "common", 1)])
call, said = protobuf(ISTIO)
value("protobuf: the first message", framed(6, "PROTOBUF", [0]) + call, said)
value("protobuf: the schema in a header", call, said, in_header("00000000-0000-0000-0000-0000000000ff", "PROTOBUF", [0]))
Inner = main.Other.Inner
inner = Inner(kind=Inner.SOME, kinds=[0, 1, 7], packed_ints=[0, -1, 2147483647], raw_bytes=b"\xff\x00a", by_number={-1: True},
              a_number=0, ratio=0.25, big=18446744073709551615)
inner.by_name["a\n"].CopyFrom(Inner(flag=True, big=1))
inner.common.must_be = -5
inner.common.group.in_group = "g"
inner.child.child.kind = 1
payload, said = protobuf(inner)

value("protobuf: a message in another", framed(6, "PROTOBUF", [1, 0]) + payload, said)
value("protobuf: a message in another, by a header", payload, said,
      in_header("00000000-0000-0000-0000-0000000000ff", "PROTOBUF", [1, 0]))

answer("/schemas/ids/7", {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, "JSON", [("gone.json", "gone", 1)])
value("json schema", framed(7) + json.dumps(KONG).encode(), KONG)

# More than one block of 64 KiB.
long = "".join(f"{n} {LINE}\n" for n in range(700))
for level in (1, 19):
    value(f"zstd, level {level}", zstandard.ZstdCompressor(level=level).compress(LINE.encode()), LINE)
stream = zstandard.ZstdCompressor(level=19).compressobj()
value("zstd, written as a stream", stream.compress(LINE.encode()) + stream.flush(), LINE)
value("gzip, two members", gzip.compress(LINE[:20].encode(), mtime=0) + gzip.compress(LINE[20:].encode(), mtime=0), LINE)
for linked in (True, False):
    packed = lz4.frame.compress(long.encode(), block_linked=linked, block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_checksum=linked,
                                content_checksum=not linked, store_size=linked, compression_level=9 if linked else 0)
    value(f"lz4, {'linked' if linked else 'independent'} blocks", packed, {"numbered": LINE, "n": 700})
value("lz4, what can't be made smaller", lz4.frame.compress(b"5\xc3\xbc8\x01z"), "5\u00fc8\u0001z")
for form in ("framed", "stream", "block"):
    def pack(text):
        jar = HERE / "snappy-java-1.1.10.7.jar"
        return subprocess.run(["java", "-cp", jar, HERE / "Pack.java", form], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
    value(f"snappy, {form}", pack(json.dumps(KONG)), KONG)
    value(f"snappy, {form}, more than 64 KiB", pack(long), {"numbered": LINE, "n": 700})
    if form != "block":
        value(f"snappy, {form}, two of them", pack(LINE[:20]) + pack(LINE[20:]), LINE)
        value(f"snappy, {form}, what can't be made smaller", pack("5\u00fc8\u0001z"), "5\u00fc8\u0001z")
value("plain", json.dumps(KONG).encode(), KONG)

(HERE / "values.json").write_text(json.dumps({"answers": answers, "values": values}, indent=1, ensure_ascii=True) + "\n")
print(f"{len(values)} values, {len(answers)} answers")
