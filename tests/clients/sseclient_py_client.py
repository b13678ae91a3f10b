"""sseclient-py decodes one response of requests: its caller reconnects with the last event ID."""

import time

import requests
from sseclient import SSEClient

import reader


def events(url):
    last_event_id = None
    reconnection_delay = 0.1
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(5, None)) as response:
                response.raise_for_status()
                for event in SSEClient(response.iter_content(chunk_size=None)).events():
                    last_event_id = event.id or last_event_id
                    if event.retry is not None:
                        reconnection_delay = int(event.retry) / 1000
                    yield event.event, event.id, event.data
        except requests.HTTPError as error:
            reader.fail(f"refused: {error}")
        except requests.RequestException:
            pass
        time.sleep(reconnection_delay)


if __name__ == "__main__":
    reader.run(events)
