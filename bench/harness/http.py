"""JSON over HTTP."""

import http.client
import json
import urllib.error
import urllib.request

from .processes import Failed

TIMEOUT_S = 30


def call(method: str, url: str, body=None, key: str | None = None):
    """The answer's JSON; none if there is none. Anything but success fails and says what was answered."""
    request = urllib.request.Request(url, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Failed(f"{method} {url}: {error.code}: {error.read().decode(errors='replace')}") from None
    except OSError as error:
        raise Failed(f"{method} {url}: {error}") from None
    return json.loads(text) if text else None


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except (OSError, http.client.HTTPException):
        return False
