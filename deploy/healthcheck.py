"""Ends with 0 when the service in this container answers; what Docker's HEALTHCHECK calls."""

import http.client
import os
import ssl
import sys

port = int(os.environ.get("SMARTMOB_PORT") or 8080)
connection: http.client.HTTPConnection
if os.environ.get("SMARTMOB_TLS_CERT"):
    # Asked is whether it lives, of 127.0.0.1, for which its certificate need not be; nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
else:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/health")
    sys.exit(connection.getresponse().status != 200)
except OSError as error:
    sys.exit(f"no answer: {error}")
