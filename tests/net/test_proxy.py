import pytest

from secrets_manager.net.proxy import proxy_for

URL = "https://api.example.com:6443"
PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (URL, {}, ""),
        (URL, PROXY, "http://proxy:3128"),
        (URL, {"https_proxy": "http://small:1"}, "http://small:1"),
        (URL, {"https_proxy": "http://small:1", **PROXY}, "http://proxy:3128"),
        (URL, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (URL, {"HTTP_PROXY": "http://proxy:3128"}, ""),
        ("http://api.example.com", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://localhost:6443", PROXY, ""),
        ("https://127.0.0.1:6443", PROXY, ""),
        ("https://[::1]:6443", PROXY, ""),
    ],
)
def test_proxy_is_the_one_of_the_scheme_and_never_for_this_machine(
    url: str, environ: dict[str, str], expected: str
) -> None:
    assert proxy_for(url, environ=environ) == expected


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("api.example.com", "*", True),
        ("api.example.com", "other.com, example.com", True),
        ("api.example.com", "API.EXAMPLE.COM", True),
        ("api.example.com", ".example.com", True),
        ("api.example.com", "*.example.com", True),
        ("example.com", ".example.com", False),
        ("badexample.com", "example.com", False),
        ("api.example.com", "example.com:6443", True),
        ("api.example.com", "example.com:443", False),
        ("api.example.com", "", False),
        ("api.example.com", ",", False),
        ("10.96.0.1", "10.0.0.0/8", True),
        ("11.96.0.1", "10.0.0.0/8", False),
        ("10.96.0.1", "10.96.0.1", True),
        ("10.96.0.1", "10.96.0.1:6443", True),
        ("10.96.0.1", "10.96.0.1:443", False),
        ("10.96.0.1", "96.0.1", False),
        ("10.96.0.1", "nonsense/8", False),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]", "[fd00::1]:6443", True),
    ],
)
def test_no_proxy_lists_names_addresses_and_ranges(host: str, no_proxy: str, *, direct: bool) -> None:
    environ = {**PROXY, "NO_PROXY": no_proxy}

    assert (proxy_for(f"https://{host}:6443", environ=environ) == "") is direct
