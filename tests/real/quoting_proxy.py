"""A server in front of another one, whose errors quote what a client has sent: credentials first, and its data."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

KEPT = ("accept", "authorization", "content-type", "x-vault-token", "x-vault-namespace", "x-vault-wrap-ttl")

Quotes = Callable[[str], bool]
"""Whether a request is answered by an error, by its path with the query."""
Error = Callable[[str], bytes]
"""Makes the body of an error of some words."""


class QuotingProxy(ThreadingHTTPServer):
    """Passes requests on to the server of `client`, unless it is to answer them itself."""

    daemon_threads = True

    def __init__(self, client: httpx.Client, error: Error) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.client = client
        self.error = error
        self.quotes: Quotes = lambda path: False
        self.status = 500
        self.credentials: set[str] = set()
        """Those that clients have shown."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Do nothing: the client has gone."""


class _Handler(BaseHTTPRequestHandler):
    def __getattr__(self, name: str) -> Callable[[], None]:
        """Return what answers a method, which is looked up as do_GET and the like."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    @property
    def _proxy(self) -> QuotingProxy:
        assert isinstance(self.server, QuotingProxy)
        return self.server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): text for name, text in self.headers.items() if name.lower() in KEPT}
        shown = (headers.get("x-vault-token", ""), headers.get("authorization", "").removeprefix("Bearer "))
        self._proxy.credentials |= {each for each in shown if each}
        if self._proxy.quotes(self.path):
            data = (
                body.partition(b'"data"')[2] or body
            )  # before it a Secret has much that is no secret, and errors are cut
            self._quote(f"{' '.join(shown)} {data.decode('utf-8', 'replace')} {headers} {self.path}")
        else:
            self._pass_on(headers, body)

    def _quote(self, words: str) -> None:
        self.send_response(self._proxy.status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self._proxy.error(words))

    def _pass_on(self, headers: dict[str, str], body: bytes) -> None:
        with self._proxy.client.stream(self.command, self.path, headers=headers, content=body) as response:
            self.send_response(response.status_code)
            self.send_header("Content-Type", response.headers.get("Content-Type", "text/plain"))
            self.end_headers()
            for part in response.iter_raw():
                self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@contextmanager
def quoting_proxy(client: httpx.Client, error: Error) -> Generator[QuotingProxy]:
    """Serve, in front of the server of `client`."""
    proxy = QuotingProxy(client, error)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
