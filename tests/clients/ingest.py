"""Sends standard input as the body of a request, line by line, and prints the answer.

    python ingest.py URL CONTENT_TYPE
"""

import http.client
import sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.netloc)
target = f"{url.path}?{url.query}" if url.query else url.path
lines = iter(sys.stdin.buffer.readline, b"")
try:
    headers = {"Content-Type": sys.argv[2], "Transfer-Encoding": "chunked"}
    connection.request("POST", target, lines, headers, encode_chunked=True)
except BrokenPipeError:
    # The hub has answered before the body has ended.
    pass
answer = connection.getresponse()
print(answer.status, answer.read().decode())
