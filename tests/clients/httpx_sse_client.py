"""Reads COUNT ordinary events from URL with httpx-sse and prints one line of JSON for each,
and for each of the hub's own events among them.

httpx-sse leaves reconnecting to its caller: this does it as the package's README shows.
"""

import json
import signal
import sys
import time

import httpx
from httpx_sse import SSEError, connect_sse

LIMIT_SECONDS = 60


def main() -> None:
    if len(sys.argv) != 3 or not sys.argv[2].isdigit() or int(sys.argv[2]) == 0:
        fail("usage: httpx_sse_client.py URL COUNT", status=2)
    url, left = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGALRM, lambda *_: fail(f"not done after {LIMIT_SECONDS} s"))
    signal.alarm(LIMIT_SECONDS)
    for event in events(url):
        print(json.dumps({"type": event.event, "id": event.id, "data": event.data}), flush=True)
        left -= not event.event.startswith("carafe.")
        if left == 0:
            return


def events(url):
    """The events of one connection after the other, each resumed where the one before it broke."""
    last_event_id = ""
    reconnection_delay = 0.1
    with httpx.Client(timeout=httpx.Timeout(5, read=None)) as client:
        while True:
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    source.response.raise_for_status()
                    for event in source.iter_sse():
                        last_event_id = event.id
                        if event.retry is not None:
                            reconnection_delay = event.retry / 1000
                        if is_dispatched(event):
                            yield event
            except httpx.TransportError:
                pass
            except (httpx.HTTPStatusError, SSEError) as error:
                fail(f"refused: {error}")
            time.sleep(reconnection_delay)


def is_dispatched(event) -> bool:
    """httpx-sse also yields blocks without data, which the standard says to pass over."""
    return bool(event.data) or event.event != "message"


def fail(reason: str, status: int = 1) -> None:
    print(f"httpx_sse_client.py: {reason}", file=sys.stderr, flush=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
