import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.kube.errors import MalformedResponse
from secrets_manager.kube.watchstream import LineBuffer

TEXTS = st.lists(st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"")), max_size=8)


def chunks_of(stream: bytes, sizes: list[int]) -> list[bytes]:
    chunks: list[bytes] = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    return [*chunks, stream]


@given(texts=TEXTS, rest=st.binary(max_size=5), sizes=st.lists(st.integers(0, 9), max_size=30))
def test_the_lines_are_the_same_however_the_stream_is_cut(texts: list[bytes], rest: bytes, sizes: list[int]) -> None:
    stream = b"".join(text + b"\n" for text in texts) + rest.replace(b"\n", b"")
    buffer = LineBuffer()

    lines = [line for chunk in chunks_of(stream, sizes) for line in buffer.feed(chunk)]

    assert lines == [text for text in texts if text]


@given(length=st.integers(0, 30), sizes=st.lists(st.integers(1, 9), max_size=30), ended=st.booleans())
def test_only_a_line_beyond_the_bound_is_refused_however_it_is_cut(
    *, length: int, sizes: list[int], ended: bool
) -> None:
    buffer = LineBuffer(max_line=20)

    def feed() -> None:
        for chunk in chunks_of(b"short\n" * 9 + b"x" * length + b"\n" * ended, sizes):
            buffer.feed(chunk)

    if length > 20:
        with pytest.raises(MalformedResponse):
            feed()
    else:
        feed()
