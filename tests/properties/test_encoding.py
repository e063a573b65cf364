import base64

from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.controller.encoding import EncodingError, decode


@st.composite
def wrapped(draw: st.DrawFn) -> tuple[bytes, str]:
    """Bytes, and their base64 as some tool prints it: wrapped at any width, with any line ends and space around."""
    value = draw(st.binary(max_size=200))
    width = draw(st.integers(1, 80))
    line_end = draw(st.sampled_from(["\n", "\r\n", ""]))
    space = st.text(alphabet=" \t\r\n", max_size=3)
    text = base64.b64encode(value).decode()
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return value, f"{draw(space)}{line_end.join(lines)}{draw(space)}"


@given(wrapped())
def test_base64_gives_back_what_was_encoded(pair: tuple[bytes, str]) -> None:
    value, text = pair

    assert decode(text, "base64") == value


@given(st.text())
def test_text_gives_back_what_was_written(text: str) -> None:
    assert decode(text, "text") == decode(text, "") == text.encode()


@given(
    st.text(st.characters(exclude_categories=())) | st.text("YWJj=+/-_ \n"),
    st.sampled_from(["", "text", "base64", "base64url", "hex"]),
)
def test_any_text_gives_bytes_or_an_error_that_does_not_contain_it(text: str, encoding: str) -> None:
    message = ""
    try:
        decode(text, encoding)
    except EncodingError as error:
        message = str(error)

    assert len(text) < 8 or text not in message
