"""client.py URL CERTIFICATE PROTOCOL

Reads a stream over TLS with Python's standard library. Prints "open" after the first event, the data
of each further event, and "end" when the server has ended the stream in order. PROTOCOL is http/1.1
or tls1.2.
"""

import ssl
import sys
from http.client import HTTPSConnection
from urllib.parse import urlsplit

url, certificate, protocol = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
if protocol == "tls1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
parts = urlsplit(url)
connection = HTTPSConnection(parts.netloc, context=context)
connection.request("GET", f"{parts.path}?{parts.query}")
response = connection.getresponse()
assert response.status == 200, response.status
is_open = False
while line := response.readline():
    if not line.startswith(b"data: "):
        continue
    print(line[6:].decode().rstrip("\n") if is_open else "open", flush=True)
    is_open = True
# A stream that breaks off ends without the last chunk, which leaves the response open.
assert response.isclosed(), "the stream broke off"
print("end", flush=True)
