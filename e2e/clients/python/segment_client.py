"""What users of segment-analytics-python do: identify, group, track, flush, with and without compression."""

import os
import sys
from datetime import datetime, timezone

from segment.analytics.client import Client

USERS = 250


def main():
    errors = []
    options = {"host": os.environ["SEGMENT_URL"], "on_error": lambda error, items: errors.append(error)}
    for gzip in (False, True):
        client = Client(os.environ["SEGMENT_WRITE_KEY"], gzip=gzip, upload_size=100, **options)
        kind = "gzip" if gzip else "plain"
        for number in range(USERS):
            user = f"python-{kind}-{number}"
            context = {"consent": {"categoryPreferences": {"marketing_email": number % 2 == 0}}}
            client.identify(user, {"email": f"{user}@example.com", "plan": "Łukasz's"}, context=context)
            client.group(user, "001", {"name": "Acme"})
            client.track(user, "Ordered", {"amount": 1.5}, timestamp=datetime(2026, 5, 4, tzinfo=timezone.utc))
        client.flush()
        client.join()
    # What was handed over twice is known by its id.
    again = Client(os.environ["SEGMENT_WRITE_KEY"], sync_mode=True, **options)
    for _ in range(2):
        again.identify("python-again", {"times": 2}, message_id="python-again-1")
    assert errors == [], errors


if __name__ == "__main__":
    sys.exit(main())
