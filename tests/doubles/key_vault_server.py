"""The in-memory Key Vault on a port of this machine, over TLS with an authority of its own, as the SDK asks for."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.key_vault import KeyVaultState, Request
from tests.kube.certificates import Authority


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # of the five that are usual, the sixth client at a time would wait for a second

    def __init__(self, state: KeyVaultState, certificate: Path, key: Path) -> None:
        self.state = state
        super().__init__(("127.0.0.1", 0), _Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or trusts another authority, is no error of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        pass

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)  # without a Date of its own

    def _answer(self, body: str) -> None:
        assert isinstance(self.server, _Server)
        url = urlsplit(self.path)
        response = self.server.state.handle(
            Request(
                method=self.command,
                path=unquote(url.path),
                params=dict(parse_qsl(url.query)),
                headers={name.lower(): value for name, value in self.headers.items()},
                form=dict(parse_qsl(body)),
            )
        )
        if response.status == 0:
            self.close_connection = True
            with suppress(OSError):  # the client has closed the connection
                for piece in response.pieces:
                    self.wfile.write(piece)
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)


@contextmanager
def serving(state: KeyVaultState, authority: Authority) -> Generator[None]:
    """Serve it until the end of the block; `state.url` is its address."""
    certificate, key = authority.issue("key-vault", alternative="DNS:localhost")
    with _Server(state, certificate, key) as server:
        state.url = f"https://localhost:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
