"""httpx-sse leaves reconnecting to its caller: this does it as the package's README shows."""

import time

import httpx
from httpx_sse import SSEError, connect_sse

import reader


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
                            yield event.event, event.id, event.data
            except httpx.TransportError:
                pass
            except (httpx.HTTPStatusError, SSEError) as error:
                reader.fail(f"refused: {error}")
            time.sleep(reconnection_delay)


def is_dispatched(event) -> bool:
    """httpx-sse also yields blocks without data, which the standard says to pass over."""
    return bool(event.data) or event.event != "message"


if __name__ == "__main__":
    reader.run(events)
