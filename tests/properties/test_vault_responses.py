"""Any response to a read gives a Document, or a typed error without its content."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fake_kubernetes.documents import Json
from secrets_manager.backends import BackendError, Document, Source, SourceMalformed
from secrets_manager.backends.vault.engine import Engine, KvV1, KvV2
from secrets_manager.backends.vault.responses import OK, Response, read_error

CANARY = "canary"
SOURCE = Source("secret/data/app")

names = st.sampled_from(
    [
        "data",
        "metadata",
        "version",
        "created_time",
        "destroyed",
        "deletion_time",
        "lease_id",
        "warnings",
        "auth",
        CANARY,
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just(CANARY)
    | st.text(max_size=8).map(lambda text: CANARY + text)
)
documents: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5), max_leaves=12
)
metadata = st.fixed_dictionaries(
    {
        "version": st.integers(min_value=1) | scalars,
        "created_time": st.just("2026-01-02T03:04:05Z") | scalars,
        "destroyed": st.booleans() | scalars,
    }
)
kv_v2 = st.fixed_dictionaries({"data": st.dictionaries(names, documents) | documents, "metadata": metadata})
bodies = (
    st.fixed_dictionaries({"data": kv_v2 | documents}, optional={"lease_id": st.just("") | scalars}) | documents
).map(msgspec.json.encode)
damaged = st.builds(
    lambda body, at, byte: body[:at] + byte + body[at:], bodies, st.integers(0, 200), st.binary(max_size=2)
)
rubbish = st.binary(max_size=100).map(lambda noise: noise + CANARY.encode())
statuses = st.sampled_from([*range(200, 210), *range(300, 309), *range(400, 432), 472, 473, *range(500, 512), 599])
engines = st.sampled_from([KvV1(), KvV2()])


def outcome(engine: Engine, reply: Response) -> Document | BackendError:
    if reply.status != OK:
        return read_error(reply, SOURCE)
    try:
        return engine.document(SOURCE, reply.body)
    except SourceMalformed as error:
        return error


@given(engines, st.just(OK) | statuses, bodies | damaged | rubbish)
def test_any_body_gives_a_document_or_an_error_without_a_value(engine: Engine, status: int, body: bytes) -> None:
    found = outcome(engine, Response(status, body))

    assert isinstance(found, Document | BackendError)
    assert CANARY not in (repr(found) if isinstance(found, Document) else str(found))
    if isinstance(found, Document):
        assert CANARY not in found.marker


@given(st.dictionaries(st.text(), st.text() | st.none(), max_size=5), st.integers(min_value=1))
def test_text_survives_both_engines(values: dict[str, str | None], version: int) -> None:
    stamp = {"version": version, "created_time": "2026-01-02T03:04:05.1Z", "destroyed": False}
    two = msgspec.json.encode({"data": {"data": values, "metadata": stamp}})
    one = msgspec.json.encode({"data": values})

    assert KvV2().document(SOURCE, two).values == values
    assert KvV1().document(SOURCE, one).values == values


@given(engines, st.integers(min_value=1, max_value=50_000))
def test_however_deep_a_value_is_nested_it_is_text_or_refused(engine: Engine, depth: int) -> None:
    value = "[" * depth + "]" * depth
    stamp = '{"version":1,"created_time":"2026-01-02T03:04:05Z","destroyed":false}'
    data = f'{{"k":{value}}}'
    body = f'{{"data":{{"data":{data},"metadata":{stamp}}}}}' if isinstance(engine, KvV2) else f'{{"data":{data}}}'

    found = outcome(engine, Response(OK, body.encode()))

    if isinstance(found, Document):
        assert found.values == {"k": value}
    else:
        assert isinstance(found, SourceMalformed)
