"""A WSGI service whose server spans tell tollwatch who called. Needs opentelemetry-instrumentation-wsgi and an OTLP JSON exporter.

Here spans go to a file; with the collector in between (otel-collector.yaml) use opentelemetry-exporter-otlp instead.
"""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

# Chosen headers, never `authorization`, `cookie` or an API key: a span goes to many places.
os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"] = (
    "content-type,origin,referer,x-http-method-override,x-original-url,x-rewrite-url,mcp-method,mcp-name,mcp-protocol-version,a2a-version,signature-agent"
)
os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE"] = "content-type,access-control-allow-origin"


def traced(app, path):
    """Wraps a WSGI application; its spans are written to the file at `path`. Every call is sampled, or rates would be off."""
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": "orders"}))
    provider.add_span_processor(BatchSpanProcessor(FileSpanExporter(path), schedule_delay_millis=1000))
    trace.set_tracer_provider(provider)
    return OpenTelemetryMiddleware(app)


def called_by(subject=None, consumer=None):
    """To be called where the service has checked who calls: the subject of a token or a user's name, or the owner of an API key."""
    span = trace.get_current_span()
    if subject:
        span.set_attribute("user.id", subject)
    if consumer:
        span.set_attribute("consumer", consumer)


def sent(n_bytes):
    """To be called with the size of the answer's body, which the instrumentation does not tell."""
    trace.get_current_span().set_attribute("http.response.body.size", n_bytes)
