"""TLS: for clients what is trusted, who we are, and a context that can be exchanged while connections are open.

An HTTP client takes one `ssl.SSLContext` for its whole life, but authorities and client certificates rotate under a
running process, and an `ssl.SSLContext` can't forget what it once loaded. `Tls` stands in front: the client holds it,
and each new connection is made from the context that was set last.
"""

import os
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class UnusableFile(OSError):
    """A file that was named can't be read, or does not hold what it should. The text names it, and why."""


def client_context(
    *,
    ca_file: str = "",
    ca_pem: str = "",
    ca_folder: str = "",
    cert_file: str = "",
    key_file: str = "",
    client_pem: bytes = b"",
    verify: bool = True,
) -> ssl.SSLContext:
    """Make a context from PEM files. It blocks on the disk.

    `client_pem` is our certificate and its key, as text, which is written nowhere.
    With none of `ca_file`, `ca_pem` (such a file's text) and `ca_folder`, the machine's own authorities are trusted.
    Of a folder every file counts, as in Go, whatever its name. As there, too, and unlike `ssl.create_default_context`
    since Python 3.13, an authority need not be self-signed nor carry key identifiers: those of clusters often don't.
    Raises: UnusableFile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file or ca_pem or ca_folder:
        for file in [*filter(None, [ca_file]), *(files_of(ca_folder) if ca_folder else [])]:
            with _naming(file):
                context.load_verify_locations(file)
        if ca_pem:
            with _naming("the PEM text of authorities"):
                context.load_verify_locations(cadata=ca_pem.encode("ascii", "replace").decode())
    else:
        context.load_default_certs()
    if cert_file:
        with _naming(f"{cert_file} with {key_file}" if key_file else cert_file):
            # With any password, ssl never asks a terminal for one.
            context.load_cert_chain(cert_file, key_file or None, password="")
    if client_pem:
        with _naming("the PEM text of the client certificate and its key"), _in_memory(client_pem) as file:
            context.load_cert_chain(file, password="")
    return context


def server_context(cert_file: str, key_file: str) -> ssl.SSLContext:
    """Make the context of a server of HTTP/1.1, with TLS 1.2 or newer. It blocks on the disk. Raises: UnusableFile."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with _naming(f"{cert_file} with {key_file}"):
        context.load_cert_chain(cert_file, key_file, password="")  # with any password, ssl never asks a terminal
    return context


def files_of(folder: str) -> list[str]:
    """The files in a folder, but hidden ones: Kubernetes keeps a mounted volume's state in those.

    Raises: UnusableFile when it can't be read, or there are none.
    """
    with _naming(folder):
        files = sorted(str(each) for each in Path(folder).iterdir() if each.is_file() and each.name[0] != ".")
    if not files:
        raise UnusableFile(f"{folder} has no files in it")
    return files


@contextmanager
def _in_memory(text: bytes) -> Generator[str]:
    """A file that is on no disk: ssl reads a client certificate from nothing else. Linux has such files."""
    with os.fdopen(os.memfd_create("client-certificate"), "wb") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


@contextmanager
def _naming(file: str) -> Generator[None]:
    """ssl's errors don't tell of which file they are."""
    try:
        yield
    except ssl.SSLError as error:
        raise UnusableFile(f"{file} can't be used ({error.reason or 'no PEM'})") from None
    except OSError as error:
        raise UnusableFile(f"{file} can't be read ({error.strerror})") from None
    except ValueError:
        raise UnusableFile(f"{file!r} can't be the path of a file") from None


class Tls(ssl.SSLContext):
    """Makes each connection from `current`, which may be exchanged at any time.

    With a `server_name`, the server must present a certificate for it, whatever host the URL names. A host that ends
    with a dot is asked for without it, as in Go: RFC 6066, section 3, and certificates have none.
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
        name = self.server_name or server_hostname
        if isinstance(name, str):
            name = name.removesuffix(".")
        return self.current.wrap_bio(incoming, outgoing, server_side, name, session)
