import pytest

from secrets_manager.net.hosts import is_host, is_http_url


@pytest.mark.parametrize(
    "name", ["a", "vault.example.com.", f"{'x' * 63}.example", "bücher.example", "10.0.0.1", "::1", "under_score"]
)
def test_name_that_a_host_can_have(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", ".a", "a..", "x" * 64, "ü" * 60, "a\0b", "a\n", "\ud800"])
def test_name_that_no_host_can_have(name: str) -> None:
    assert not is_host(name)


@pytest.mark.parametrize(
    "url", ["https://a", "HTTP://a:1/path?query", "https://user:password@[::1]:65535", "https://bücher.example"]
)
def test_url_that_leads_to_a_server(url: str) -> None:
    assert is_http_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "a:1", "ftp://a", "https://", "https://:1", "https://[::1", "https://a:0", "https://a:65536", "https://a:b",
     "https://a..b", "https://a\n", "https://ü..b"],
)  # fmt: skip
def test_url_that_leads_nowhere(url: str) -> None:
    assert not is_http_url(url)
