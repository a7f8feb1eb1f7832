"""As much of S3's protocol as a test needs to look at a store by itself: signed requests (AWS Signature Version 4) over plain HTTP."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse

REGION = "us-east-1"


class Store:
    """A server at `address` (host:port), asked with one pair of keys."""

    def __init__(self, address, key, secret):
        self.address, self.key, self.secret = address, key, secret

    def ask(self, method, path, body=b"", headers=(), query=()):
        """Status, body and headers of the answer."""
        now = datetime.datetime.now(datetime.timezone.utc)
        day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        payload = hashlib.sha256(body).hexdigest()
        signed = {"host": self.address, "x-amz-content-sha256": payload, "x-amz-date": moment, **dict(headers)}
        names = ";".join(sorted(signed))
        path = urllib.parse.quote(path)
        query = urllib.parse.urlencode(sorted(query), quote_via=urllib.parse.quote)
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = "\n".join([method, path, query, lines, names, payload])
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in [day, REGION, "s3", "aws4_request"]:
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, SignedHeaders={names}, Signature={signature}"
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, f"{path}?{query}" if query else path, body, signed)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def create(self, path, body):
        """Status of a write that is only to hold when nothing is there."""
        return self.ask("PUT", path, body, {"if-none-match": "*"})[0]
