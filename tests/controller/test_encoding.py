import pytest

from secrets_manager.controller.encoding import EncodingError, decode

CANARY = "canary-7d1f"


@pytest.mark.parametrize("encoding", ["", "text"])
@pytest.mark.parametrize("text", ["", "hunter2", "  spaces stay \n", "YWJj", "pässwörd 🔑", "\x00"])
def test_text_is_taken_as_it_is(text: str, encoding: str) -> None:
    assert decode(text, encoding) == text.encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("YWJj", b"abc"),
        ("YWI=", b"ab"),
        ("YQ==", b"a"),
        ("//79", b"\xff\xfe\xfd"),
        ("YWJj\n", b"abc"),
        ("  YWJj\t", b"abc"),
        ("YW\nJj", b"abc"),
        ("YWJj\r\nZGVm\r\n", b"abcdef"),
        ("YQ=\n=", b"a"),
        ("YQ", b"a"),
        ("YWI\n", b"ab"),
    ],
)
def test_base64_is_decoded_whatever_wraps_it(text: str, value: bytes) -> None:
    assert decode(text, "base64") == value


@pytest.mark.parametrize(
    "text", ["Y", "YQ=", "YQ==YQ==", "=YQ=", "YW Jj", "Y-_j", "YWJj!", "pässwörd", "{}", f"{CANARY}-is-not-base64"]
)
def test_what_is_not_base64_is_an_error_that_does_not_contain_it(text: str) -> None:
    with pytest.raises(EncodingError) as failure:
        decode(text, "base64")

    assert str(failure.value) == "the value is not base64: encode it, or remove encoding: base64"
    assert failure.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "value"), [("", b""), ("_-79", b"\xff\xee\xfd"), ("YQ", b"a"), (" YQ==\n", b"a"), ("YW\nI", b"ab")]
)
def test_base64url_has_an_alphabet_of_its_own(text: str, value: bytes) -> None:
    assert decode(text, "base64url") == value


@pytest.mark.parametrize("text", ["Y", "YQ=", "YWJj+/", "YW Jj", "pässwörd", "=", CANARY + "?"])
def test_what_is_not_base64url_is_an_error_that_does_not_contain_it(text: str) -> None:
    with pytest.raises(EncodingError) as failure:
        decode(text, "base64url")

    assert str(failure.value) == "the value is not base64url: encode it, or remove encoding: base64url"
    assert failure.value.__suppress_context__


def test_half_a_character_is_an_error_that_does_not_contain_the_value() -> None:
    with pytest.raises(EncodingError) as failure:
        decode(f"{CANARY}\ud800", "text")

    assert str(failure.value) == "the value holds half a character (a lone surrogate), which no text encoding has"
    assert failure.value.__suppress_context__


@pytest.mark.parametrize("encoding", ["BASE64", "hex", " base64", "Text", "Base64URL"])
def test_unknown_encoding_is_an_error_that_names_the_known_ones(encoding: str) -> None:
    with pytest.raises(EncodingError, match=f"^encoding '{encoding}' is unknown: use text, base64 or base64url$"):
        decode(CANARY, encoding)
