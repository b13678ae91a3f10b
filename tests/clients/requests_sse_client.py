"""requests-sse reconnects by itself."""

import requests
from requests_sse import EventSource

import reader


def events(url):
    try:
        # It gives up after 5 tries by default.
        with EventSource(url, max_connect_retry=100) as source:
            for event in source:
                yield event.type, event.last_event_id, event.data
    except requests.RequestException as error:
        reader.fail(f"refused: {error}")


if __name__ == "__main__":
    reader.run(events)
