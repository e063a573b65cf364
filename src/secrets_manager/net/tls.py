"""TLS for clients: what is trusted, who we are, and a context that can be exchanged while connections are open.

An HTTP client takes one `ssl.SSLContext` for its whole life, but authorities and client certificates rotate under a
running process, and an `ssl.SSLContext` can't forget what it once loaded. `Tls` stands in front: the client holds it,
and each new connection is made from the context that was set last.
"""

import ssl
from typing import Self


def client_context(
    *, ca_file: str = "", cert_file: str = "", key_file: str = "", verify: bool = True
) -> ssl.SSLContext:
    """Make a context from PEM files. It blocks on the disk.

    Without a `ca_file`, the machine's own authorities are trusted. As in Go, and unlike `ssl.create_default_context`
    since Python 3.13, an authority need not be self-signed nor carry key identifiers: those of clusters often don't.
    Raises: OSError (of which ssl.SSLError is one) for files that are missing or no certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
    return context


class Tls(ssl.SSLContext):
    """Makes each connection from `current`, which may be exchanged at any time.

    With a `server_name`, the server must present a certificate for it, whatever host the URL names.
    """

    current: ssl.SSLContext
    server_name: str

    def __new__(cls, current: ssl.SSLContext, *, server_name: str = "") -> Self:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self.current = current
        self.server_name = server_name
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature is the standard library's
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.current.wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)
