"""A small authority for tests of TLS, made by the openssl command."""

import subprocess
from pathlib import Path


class Authority:
    """Signs certificates for servers and clients. Each `Authority` of a test trusts only itself."""

    def __init__(self, folder: Path, *, name: str = "authority") -> None:
        self._folder = folder
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        _openssl("req", "-x509", *NEW_KEY, "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", self._key, "-out", self.certificate)  # fmt: skip

    def issue(self, name: str, *, alternative: str = "") -> tuple[Path, Path]:
        """A certificate and its key; for a server, `alternative` is such as `IP:127.0.0.1` or `DNS:api`."""
        certificate, key, request = (self._folder / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        extensions = ["-addext", f"subjectAltName={alternative}"] if alternative else []
        _openssl("req", *NEW_KEY, "-subj", f"/CN={name}", *extensions, "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-days", "2",
                 "-copy_extensions", "copy", "-out", certificate)  # fmt: skip
        return certificate, key


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
