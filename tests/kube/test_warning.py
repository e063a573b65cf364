import pytest

from secrets_manager.kube.warning import parse_warnings

PEM = "tls: failed to find any PEM data in certificate input"


@pytest.mark.parametrize(
    ("headers", "warnings"),
    [
        pytest.param([], [], id="none"),
        pytest.param([f'299 - "{PEM}"'], [PEM], id="one"),
        pytest.param(['299 - "a"', '299 - "b"', '299 - "a"'], ["a", "b"], id="several, each once"),
        pytest.param(['299 - "a, b", 299 - "c"'], ["a, b", "c"], id="several in one header"),
        pytest.param(['299 - "a" "Wed, 21 Oct 2015 07:28:00 GMT"'], ["a"], id="with a date"),
        pytest.param([r'299 - "a \"b\" \\ c"'], [r'a "b" \ c'], id="escaped"),
        pytest.param(['299 - "a\u2028b"'], [r"a\u2028b"], id="more than a line"),
        pytest.param(['110 proxy "stale"', '299 - "a"'], ["a"], id="a cache's"),
        pytest.param(['299 - "value {"k":"v"}"', '299 - "a" "b" "c"', '299 - "d"'], ["d"], id="with a quote inside"),
        pytest.param(
            ['299 - "a" "Wed, 21 Oct 2015 07:28:00 GMT" , 299 - "b"'], ["a", "b"], id="with a date, and another"
        ),
        pytest.param(['299 - ""', "299 -", '299 - "a', "nonsense"], [], id="no text"),
        pytest.param([f'299 - "{"word " * 100}"'], [f"{('word ' * 51).rstrip()}…"], id="long"),
    ],
)
def test_what_a_server_warns_of(headers: list[str], warnings: list[str]) -> None:
    assert parse_warnings(headers) == warnings
