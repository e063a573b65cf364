"""The forms in which a secret may be shown."""

import base64
from collections.abc import Iterator
from urllib.parse import quote

import msgspec


def encodings(canary: str) -> Iterator[str]:
    """Return the secret plain, for URLs, in hexadecimal, escaped, in JSON, in base64 at each alignment, as bytes."""
    raw = canary.encode()
    yield from (
        canary,
        quote(canary, safe=""),
        raw.hex(),
        repr(canary)[1:-1],
        msgspec.json.encode(canary).decode()[1:-1],
    )
    yield from (base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("="))
    yield from (base64.b64encode(b"x" * pad + raw).decode()[4:-4] for pad in (1, 2))
    yield str(list(raw))[1:-1]
