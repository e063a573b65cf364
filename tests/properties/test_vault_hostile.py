"""A broken or hostile server may answer anything to anything: what comes out is what was asked, or a typed error."""

from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from secrets_manager.backends import BackendError, Document, Folder, Source, Unavailable
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.config import VaultConfig
from tests.backends.vault.recorded import RecordedMetrics
from tests.properties.test_vault_responses import CANARY, bodies, damaged, documents, rubbish

MAX_RETRY_AFTER = 60.0

LOGIN = b'{"auth":{"client_token":"s.token","lease_duration":3600,"renewable":true,"policies":["p"]}}'
PATH = "secret/data/app"
ITSELF = f"https://vault.test/v1/{PATH}".encode()

auths = st.fixed_dictionaries(
    {"auth": st.dictionaries(st.sampled_from(["client_token", "lease_duration", "renewable", "policies"]), documents)}
).map(msgspec.json.encode)
lookups = st.fixed_dictionaries(
    {"data": st.dictionaries(st.sampled_from(["ttl", "expire_time", "renewable", "keys", "key_info"]), documents)}
).map(msgspec.json.encode)
deep = st.sampled_from([1, 500, 20_000]).map(lambda depth: b'{"data":' + b"[" * depth)
half = st.sampled_from([b'{"data":{"k":"\xc3"}}', b'{"data":{"data":{"k":"\xe2\x82"},"metadata":{}}}', b'"\xff"'])
anything = bodies | damaged | rubbish | auths | lookups | deep | half
headers = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": st.sampled_from([b"0", b"5", b"-1", b"1e9", b"9" * 400, b"\xd9\xa4", b"soon"]),
        "Location": st.sampled_from([b"", b"https://[", ITSELF, b"//evil.test", b"\\evil", b"/\xff"]),
        "Content-Length": st.just(b"5"),
    },
)
statuses = st.sampled_from([200, 200, 200, 204, 301, 307, 308, 400, 403, 403, 404, 429, 472, 473, 500, 503, 599])


def answer(status: int, body: bytes, extra: dict[str, bytes]) -> httpx.Response:
    named = [(name.encode(), value) for name, value in extra.items()]
    return httpx.Response(status, stream=Chunks(body), headers=named)


answers = st.builds(answer, statuses, anything, headers)


class Chunks(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[:7]
        yield self._body[7:]


class Hostile:
    """Answers honestly, but for what stands in `lies`, by the first words of the path; each lie once."""

    def __init__(self, lies: dict[str, list[httpx.Response]]) -> None:
        self._lies = lies

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        for part, lies in self._lies.items():
            if path.startswith(part) and lies:
                return lies.pop()
        return httpx.Response(200, content=LOGIN if path.endswith("/login") else b'{"data":{"ttl":1}}')


lies = st.dictionaries(
    st.sampled_from(["auth/approle", "auth/token", "secret/", "sys/"]), st.lists(answers, max_size=4), min_size=1
)


@given(lies)
@settings(max_examples=100)
async def test_whatever_a_server_answers_is_read_or_refused_by_a_typed_error(
    lies: dict[str, list[httpx.Response]],
) -> None:
    config, metrics = VaultConfig(url="https://vault.test", role_id="r", secret_id="s"), RecordedMetrics()
    shown, waits = list[str](), [0.0]

    async with open_vault(config, metrics, transport=httpx.MockTransport(Hostile(lies))) as backend:
        for _ in range(3):
            try:
                assert isinstance(await backend.read(Source(PATH)), Document)
            except BackendError as error:
                shown.append(str(error))
                waits.append((isinstance(error, Unavailable) and error.retry_after) or 0)
            with suppress(BackendError):
                await backend.markers(Folder("secret/data/x"))
            with suppress(BackendError):
                await backend._token_manager._ensure_valid()
        shown.append(repr(backend))

    assert max(waits) <= MAX_RETRY_AFTER
    assert [text for text in shown if CANARY in text] == []
