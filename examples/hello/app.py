"""A web server that greets: `python app.py PORT GREETING`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, GREETING = int(sys.argv[1]), sys.argv[2]


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{GREETING}\n".encode())


server = ThreadingHTTPServer(("127.0.0.1", PORT), Greeter)
sys.stdout.write(f"greeting on port {PORT}\n")
server.serve_forever()
