"""A front of an HTTP server, with TLS and basic authentication: front.py UPSTREAM_PORT CERTIFICATE KEY USER PASSWORD.

Prints its port, and forwards what comes with this login; all else is answered with 401.
"""
import base64
import http.client
import http.server
import ssl
import sys

upstream, certificate, key, user, password = sys.argv[1:]
login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != login:
            return self.answer(401, "application/json", b'{"error_code": 401, "message": "Unauthorized"}')
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "authorization")}
        connection = http.client.HTTPConnection("127.0.0.1", int(upstream), timeout=60)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        self.answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        connection.close()

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = forward

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
