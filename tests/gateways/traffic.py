"""What is sent through every gateway, what the service behind answers, and what must be read of it in the log."""

import base64
import copy
import json
import subprocess
import time

# Requests come from an address of their own; the one in X-Forwarded-For is a lie that no gateway here may log.
CLIENT_IP = "127.0.0.2"
LIE_IP = "203.0.113.66"
HOST = "api.example"
API_KEY, API_KEY_OWNER = "example-key", "mobile-app"
# A subject as identity providers make them, and worse.
ODD_SUBJECT = 'auth0|5f"\\é'
ORIGIN = "https://shop.example"
# Logged by gateways as it came, and never an event's.
QUERY_SECRET = "example-query-secret"
LONG_VALUE = "v" * 3000


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens with a key of this run; keeps the public half where gateways look for it."""

    def __init__(self, folder):
        self._private = folder / "jwt.key"
        self.public = folder / "jwt.pem"
        self.jwks = folder / "jwks.json"
        # Of each token given out whose it is.
        self.tokens = {}
        run = lambda *command: subprocess.run(command, check=True, capture_output=True).stdout
        run("openssl", "genrsa", "-out", str(self._private), "2048")
        run("openssl", "rsa", "-in", str(self._private), "-pubout", "-out", str(self.public))
        modulus = run("openssl", "rsa", "-in", str(self._private), "-noout", "-modulus").decode().strip().split("=")[1]
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": _base64url(bytes.fromhex(modulus)), "e": "AQAB"}
        self.jwks.write_text(json.dumps({"keys": [key]}))

    def token(self, subject):
        header = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        payload = {"iss": "https://login.example", "sub": subject, "azp": "billing-agent", "exp": int(time.time()) + 3600}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, payload))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self._private)]
        signature = subprocess.run(command, input=signed.encode(), check=True, capture_output=True).stdout
        token = f"{signed}.{_base64url(signature)}"
        self.tokens[token] = subject
        return token


class Request:
    """A request as bytes, and what an event of it must say. `identity` is a kind, and a name where it is plain."""

    def __init__(
        self, name, target, status, identity=("ip_ua", None), method="GET", headers=(), agent=b"check/1.0", body=b"", tool=None, query=None
    ):
        self.name, self.target, self.method, self.status, self.identity = name, target, method, status, identity
        self.agent, self.body, self.tool, self.query = agent, body, tool, query
        self.headers = list(headers)
        self.http2 = False

    def over_http2(self):
        other = copy.copy(self)
        other.http2 = True
        return other

    def fields(self):
        """Header fields but for the host, as pairs of bytes."""
        fields = [] if self.agent is None else [(b"User-Agent", self.agent)]
        fields += [
            (b"X-Forwarded-For", LIE_IP.encode()),
            # Each is what some gateway puts there after it checked; none may be believed of a client.
            (b"X-Envoy-Original-Path", b"/lie"),
            (b"X-Consumer-Username", b"liar"),
            (b"X-Authenticated-User", b"liar"),
            (b"X-Forwarded-User", b"liar"),
            (b"X-Jwt-Sub", b"liar"),
            *((name.encode(), value.encode()) for name, value in self.headers),
        ]
        if self.body:
            fields.append((b"Content-Length", str(len(self.body)).encode()))
        return fields

    def wire(self):
        """The request in HTTP/1.1."""
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), f"Host: {HOST}".encode(), b"Connection: close"]
        lines += [name + b": " + value for name, value in self.fields()]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    def expected(self):
        path, _, query = self.target.removeprefix(f"http://{HOST}").partition("?")
        rpc, tool = self.tool or (None, None)
        kind, identity = self.identity
        expected = {
            "method": self.method,
            "path": path,
            "query": self.query or query or None,
            "status": self.status,
            "host": HOST,
            "client_ip": CLIENT_IP,
            "user_agent": None if self.agent is None else self.agent.decode("utf-8", "replace"),
            "origin": dict(self.headers).get("Origin"),
            "identity_kind": kind,
            "rpc_method": rpc,
            "tool": tool,
        }
        if identity:
            expected["identity"] = identity
        return expected


def requests(issuer):
    basic = lambda user, password: ("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    alice = ("Authorization", "Bearer " + issuer.token("alice"))
    key = ("X-API-Key", API_KEY)
    odd = ("Authorization", "Bearer " + issuer.token(ODD_SUBJECT))
    call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_invoice","arguments":{"id":4711}}}'
    mcp = [("Content-Type", "application/json"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "get_invoice"), ("MCP-Protocol-Version", "2026-07-28")]
    # As the protocol has a name that is not ASCII.
    named = [("Mcp-Name", "=?base64?" + base64.b64encode("rücklauf".encode()).decode() + "?=") if name == "Mcp-Name" else (name, value) for name, value in mcp]
    return [
        Request("id in the path", "/orders/1001", 200),
        Request("id in the query", "/orders?order_id=1002&expand=items&empty=", 200),
        Request("JWT", "/orders/1003", 200, ("jwt_sub", "alice"), headers=[alice]),
        Request("escaped path", "/orders/%31%30%30%34;v=1?q=%22%20%3C%26&r=a+b", 200, ("jwt_sub", "alice"), headers=[alice]),
        Request("dots and slashes", "/orders/./x/..//1005", 200, ("jwt_sub", "alice"), headers=[alice]),
        Request("encoded slash", "/files/..%2f..%2fetc%2fpasswd", 200),
        Request("quotes in the path", "/orders/'1006'{}|^`", 200),
        Request("odd user agent", "/orders/1007", 200, agent=b'q"uo\\te \\x41 {"a":1} \xc3\xa9;'),
        Request("agent of odd bytes", "/orders/1016", 200, agent=b"caf\xe9 \xff"),
        Request("API key", "/partner/items/1008", 200, ("consumer", API_KEY_OWNER), headers=[key]),
        Request("no API key", "/partner/items/1009", 401),
        Request("password", "/admin/users/1010", 200, ("principal", "bob"), headers=[basic("bob", "example-password")]),
        Request("wrong password", "/admin/users/1011", 401, headers=[basic("bob", "guess")]),
        Request("name nobody checks", "/orders/1012", 200, headers=[basic("carol", "x")]),
        Request("MCP", "/mcp", 200, ("jwt_sub", "alice"), "POST", [alice, *mcp], body=call, tool=("tools/call", "get_invoice")),
        Request("not found", "/missing/1013", 404),
        Request("delete", "/orders/1014", 200, ("jwt_sub", "alice"), "DELETE", [alice]),
        Request("encodings in the query", "/search?q=%E2%9C%93%2B+%26&ids[]=1&ids[]=2&nul=%00&pair=%f0%9f%98%80&a=b=c&&;d", 200),
        Request("secret in the query", f"/orders/1017?page=2&client_secret={QUERY_SECRET}", 200, query="page=2&client_secret=***"),
        Request("long query", f"/orders/1018?pad={LONG_VALUE}", 200),
        Request("line break in the path", "/orders/1019%0d%0aGET%20/forged%09x", 200),
        Request("bytes beyond ASCII", "/café/1020", 200),
        Request("slashes first", "//orders//1021", 200),
        Request("absolute target", f"http://{HOST}/orders/1022?x=1", 200),
        Request("preflight", "/orders/1023", 200, method="OPTIONS", headers=[("Origin", ORIGIN), ("Access-Control-Request-Method", "PUT")]),
        Request("no user agent", "/orders/1024", 200, agent=None),
        Request("odd subject", "/orders/1025", 200, ("jwt_sub", ODD_SUBJECT), headers=[odd]),
        Request("MCP name beyond ASCII", "/mcp", 200, ("jwt_sub", "alice"), "POST", [alice, *named], body=call, tool=("tools/call", "rücklauf")),
        Request("question mark in the path", "/orders/1026%3Fx", 200),
        Request("forged JWT", "/orders/1015", 401, headers=[(alice[0], alice[1][:-8] + "AAAAAAAA")]),
    ]
