"""What the tests' own authority promises to all clients."""

import ssl
from pathlib import Path

import trio
import trio.testing

from tests.kube.certificates import Authority


async def test_certificates_pass_the_strict_checks_that_python_makes_since_3_13(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", alternative="DNS:localhost"))
    client = ssl.create_default_context(cafile=authority.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = trio.testing.memory_stream_pair()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SSLStream(theirs, server, server_side=True).do_handshake)
        await trio.SSLStream(ours, client, server_hostname="localhost").do_handshake()
