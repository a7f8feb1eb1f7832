"""The service behind the gateways, and the one that a gateway asks who calls."""

import base64
import http.server
import json
import sys

from traffic import API_KEY, API_KEY_OWNER


class Service(http.server.BaseHTTPRequestHandler):
    """Answers 404 below /missing/, 401 to a token its issuer never gave out, and else 200 with a body of one size.

    `/auth` is asked by gateways: of a call it names the caller, or lets it pass without a name, or refuses it.
    """

    protocol_version = "HTTP/1.1"
    tokens = frozenset()
    body = json.dumps({"status": "paid", "note": "x" * 64}).encode()

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        refused = scheme == "Bearer" and token not in self.tokens
        caller = None
        if self.path == "/auth":
            if scheme == "Bearer" and not refused:
                claims = token.split(".")[1]
                caller = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
            elif self.headers.get("X-Forwarded-Uri", "").startswith("/partner/"):
                caller = API_KEY_OWNER if self.headers.get("X-API-Key") == API_KEY else None
                refused = caller is None
        self.send_response(401 if refused else 404 if self.path.startswith("/missing/") else 200)
        if caller:
            # Raw bytes: a subject may be beyond ASCII.
            self._headers_buffer.append(b"X-Auth-Request-User: " + caller.encode() + b"\r\n")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # Gateways reset connections that they kept in reserve.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
