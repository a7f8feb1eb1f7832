"""A service that checks its callers itself and is instrumented by docs/recipes/traced.py.

    traced_service.py RECIPE PORT LOG TOKENS OTLP

TOKENS: a file of JSON, {token: subject}. OTLP: addresses that the spans are sent to as well, with commas between, or `-`.
"""

import base64
import importlib.util
import json
import pathlib
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

recipe_path, port, log, tokens_path, otlp = sys.argv[1:]
spec = importlib.util.spec_from_file_location("recipe", recipe_path)
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)
tokens = json.loads(pathlib.Path(tokens_path).read_text())
bob = "Basic " + base64.b64encode(b"bob:example-password").decode()
body = json.dumps({"status": "paid", "note": "x" * 64}).encode()


def status_of(environ):
    path, authorization = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = authorization.partition(" ")
    if scheme == "Bearer":
        if token not in tokens:
            return "401 Unauthorized"
        recipe.called_by(subject=tokens[token])
    if path.startswith("/partner/"):
        if environ.get("HTTP_X_API_KEY") != "example-key":
            return "401 Unauthorized"
        recipe.called_by(consumer="mobile-app")
    if path.startswith("/admin/"):
        if authorization != bob:
            return "401 Unauthorized"
        recipe.called_by(subject="bob")
    return "404 Not Found" if path.startswith("/missing/") else "200 OK"


def app(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    status = status_of(environ)
    recipe.sent(len(body))
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Handler(WSGIRequestHandler):
    def get_environ(self):
        # As gunicorn and uWSGI have it: the target as it came.
        return {**super().get_environ(), "RAW_URI": self.path}

    def log_message(self, *_):
        pass


traced = recipe.traced(app, log)
if otlp != "-":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    for address in otlp.split(","):
        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=address), schedule_delay_millis=1000)
        trace.get_tracer_provider().add_span_processor(processor)
make_server("127.0.0.1", int(port), traced, handler_class=Handler).serve_forever()
