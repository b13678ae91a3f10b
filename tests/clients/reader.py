"""What the programs here share: each reads COUNT ordinary events from URL and prints one line of
JSON for each, and for each of the hub's own events among them.
"""

import json
import signal
import sys
from pathlib import Path

LIMIT_SECONDS = 300


def run(events) -> None:
    """Prints what `events(url)` yields as (type, id, data)."""
    if len(sys.argv) != 3 or not sys.argv[2].isdigit() or int(sys.argv[2]) == 0:
        fail("usage: URL COUNT", status=2)
    url, left = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGALRM, lambda *_: fail(f"not done after {LIMIT_SECONDS} s"))
    signal.alarm(LIMIT_SECONDS)
    for event_type, event_id, data in events(url):
        print(json.dumps({"type": event_type, "id": event_id, "data": data}), flush=True)
        left -= not event_type.startswith("carafe.")
        if left == 0:
            return


def fail(reason: str, status: int = 1) -> None:
    print(f"{Path(sys.argv[0]).name}: {reason}", file=sys.stderr, flush=True)
    sys.exit(status)
