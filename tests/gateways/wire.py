"""Sends one request and reads its answer: HTTP/1.1 by bytes, HTTP/2 with prior knowledge."""

import socket

try:
    import h2.config
    import h2.connection
    import h2.events
except ImportError:
    # Not of the standard library; `run` installs it beside the gateways.
    h2 = None

from traffic import CLIENT_IP, HOST

ANSWER_SECONDS_MAX = 10


def connect(port):
    return socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX, (CLIENT_IP, 0))


def send(port, request):
    """Sends a request from CLIENT_IP; returns the status of the answer, or None."""
    return send_http2(port, request) if request.http2 else send_http1(port, request)


def send_http1(port, request):
    with connect(port) as s:
        s.sendall(request.wire())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    line = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[1].isdigit() else None


def send_http2(port, request):
    # What is sent may be what no proper client sends.
    config = h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    head = [(b":method", request.method.encode()), (b":scheme", b"http"), (b":path", request.target.encode()), (b":authority", HOST.encode())]
    head += [(name.lower(), value) for name, value in request.fields()]
    connection.send_headers(1, head, end_stream=not request.body)
    if request.body:
        connection.send_data(1, request.body, end_stream=True)
    status = None
    with connect(port) as s:
        s.sendall(connection.data_to_send())
        while chunk := s.recv(65536):
            for event in connection.receive_data(chunk):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return status
            s.sendall(connection.data_to_send())
    return status
