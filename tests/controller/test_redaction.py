import pytest

from secrets_manager.controller.redaction import WITHHELD, redact
from secrets_manager.kube.errors import ApiError, Conflict, Invalid, KubeError, Throttled, Unreachable
from tests.calls import calls

CANARY = b"canary-7d1f"
BASE64 = "Y2FuYXJ5LTdkMWY="


def refused(message: str) -> Invalid:
    return Invalid(
        f"PATCH /x: 422 Invalid: {message}",
        code=422,
        reason="Invalid",
        summary="PATCH /x: 422 Invalid",
        server_message=message,
    )


def withheld(message: str, *values: bytes) -> bool:
    redacted = str(redact(refused(message), values))
    assert redacted in (f"PATCH /x: 422 Invalid: {message}", f"PATCH /x: 422 Invalid ({WITHHELD})")
    return WITHHELD in redacted


@pytest.mark.parametrize(
    "message",
    [
        f"denied: {CANARY.decode()}",
        f"denied: xx{CANARY.decode()}xx",
        f'denied: {{"pw":"{BASE64}"}}',
        "denied: data:application/json;base64,eyJwdyI6ImNhbmFyeS03ZDFmIn0= is too weak",
        "denied: canary%2D7d1f",
        "denied: \\u0063anary-7d1f",
        'denied: "{\\"pw\\":\\"canary-7d1f\\"}"',
        "denied: [99 97 110 97 114 121 45 55 100 49 102]",
        "denied: canary…",
        "it is denied for what it says, namely canary…",
        "\\ud800 and \\U00110000 are no characters: canary-7d1f",
    ],
)
def test_words_with_a_value_are_withheld_as_a_whole(message: str) -> None:
    assert withheld(message, b"other", CANARY)


@pytest.mark.parametrize(
    "message",
    [
        'denied: {"pw":"b2xk"}',
        'denied: {"pw": 1}',
        "denied: {'pw': 'old'}",
        'denied: "{\\"pw\\":\\"b2xk\\"}"',
        "denied: map[pw:[111 108 100]]",
        'denied: map[string][]uint8{"pw":[]uint8{0x6f, 0x6c, 0x64}}',
        "denied: data:\n  pw: b2xk",
    ],
)
def test_words_with_an_object_are_withheld_whatever_it_holds(message: str) -> None:
    assert withheld(message)


@pytest.mark.parametrize(
    "message",
    [
        'denied: pw is "1"',
        "denied: pw='1'",
        "denied: pw=1, user=root",
        "denied: 1",
        "denied: [pw: 1]",
        "denied: MQ== is too short",
        "denied: MQ is too short",
        "denied: 1 is too short",
    ],
)
def test_words_with_a_short_value_that_is_set_off_are_withheld(message: str) -> None:
    assert withheld(message, b"1")


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("may not use /api/v1/ at 127.0.0.1:443, by 1 of 11 rules", b"1"),
        ('failed calling webhook "a.example.com": Post "https://a:443/v?timeout=10s": connection refused', b"443"),
        ('failed calling webhook "a.example.com": Post "https://a.example.com/v": connection refused', b"https://b.c"),
        ('a label is missing: {"team"}', b"a"),
        ('use "v1" or =v1', b"1"),
        ('secrets "app" is forbidden: exceeded quota: some, requested: secrets=1, used: secrets=5', b"5x"),
        ("data: Too long: must have at most 1048576 bytes", b"own"),
        ("data[pw]: Required value", CANARY),
        ("no words", b""),
        ("can you say anything?", CANARY),
    ],
)
def test_other_words_stay_as_they_are(message: str, value: bytes) -> None:
    assert not withheld(message, value)


LONG_VALUE = b"abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        pytest.param("denied: abcdefghijklmnop and so on", LONG_VALUE, id="its beginning"),
        pytest.param("denied: what ends in klmnopqrstuvwxyz", LONG_VALUE, id="its end"),
        pytest.param("denied: \ufffdcanary", b"\xffcanary", id="what is no UTF-8 replaced"),
        pytest.param("denied: schl\\xfcssel", "schl\u00fcssel".encode(), id="a character by two hexadecimal digits"),
        pytest.param("denied: \\143anary-7d1f", CANARY, id="a byte by three octal digits"),
        pytest.param("denied: \\U0010ffff-abc", "\U0010ffff-abc".encode(), id="the last of all characters"),
        pytest.param("denied: a+long+word", b"a long word", id="blanks as in a query"),
        pytest.param("denied: Y2FuYXJ5LTdkMWZ4x", b"canary-7d1fx", id="base64 with a letter too many"),
    ],
)
def test_a_part_or_form_that_reveals_a_value_counts_as_the_value(words: str, value: bytes) -> None:
    assert withheld(words, value)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 20])
def test_many_values_are_not_searched_for_in_the_words_one_by_one(size: int) -> None:
    values = [f"{number:x}".rjust(size, "x").encode() for number in range(256)]

    def work(words: str, values: list[bytes]) -> int:
        return calls(lambda: withheld(words, *values))

    few, many = (work("denied", values[:count]) for count in (128, 256))
    words = f'denied: it is of no use: {" (see=/docs)" * 10} "Y2FuYXJ5LTdkMWY="'
    few_in_more, many_in_more = (work(words, values[:count]) for count in (128, 256))

    assert many_in_more - few_in_more == many - few


@pytest.mark.parametrize("words", ["denied: you canar", "denied: something else\u2026"])
def test_the_beginning_of_a_value_reveals_it_only_where_the_words_are_cut(words: str) -> None:
    assert not withheld(words, CANARY)


def test_reason_that_kubernetes_gives_stays() -> None:
    assert redact(refused("denied: canary-7d1f"), [CANARY]).reason == "Invalid"


def test_the_kind_of_the_error_and_when_to_come_again_stay() -> None:
    error = Throttled(
        "429: canary-7d1f", code=429, reason="canary-7d1f", retry_after=7, summary="429", server_message="canary-7d1f"
    )

    redacted = redact(error, [CANARY])

    assert (type(redacted), str(redacted), redacted.code, redacted.reason, redacted.retry_after) == (
        Throttled,
        f"429 ({WITHHELD})",
        429,
        "",
        7,
    )


@pytest.mark.parametrize(
    ("error", "redacted"),
    [
        (Unreachable("PATCH /x: illegal header b'canary-7d1f'"), "the response is withheld: it may contain a value"),
        (Unreachable("PATCH /x: connection refused"), "PATCH /x: connection refused"),
        (Conflict("changed meanwhile", code=409), "changed meanwhile"),
        (ApiError("418", code=418), "418"),
    ],
)
def test_what_a_server_sent_in_place_of_words_is_searched_as_well(error: KubeError, redacted: str) -> None:
    assert str(redact(error, [CANARY])) == redacted
