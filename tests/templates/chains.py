"""Certificates and keys for templates, made in memory."""

import base64
import datetime as dt
import functools
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

PASSWORD = "canary-password"
LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
"""When all of them expired, which is never checked."""


class Made(NamedTuple):
    """A certificate and its key."""

    name: str
    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def pkcs8(self) -> str:
        return key_pem(self.key, serialization.PrivateFormat.PKCS8)


class Chain(NamedTuple):
    root: Made
    upper: Made
    lower: Made
    leaf: Made


def key_pem(key: Key, form: serialization.PrivateFormat, password: str = "") -> str:
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def new_key(kind: str = "ed25519") -> Key:
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa4096":
            return rsa.generate_private_key(65537, 4096)
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "brainpool":
            return ec.generate_private_key(ec.BrainpoolP512R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def make(name: str, issuer: Made | None = None, key: Key | None = None, *, identifiers: bool = True) -> Made:
    """Make a certificate; without an issuer it is self-signed."""
    key = key or new_key()
    signer = issuer.key if issuer else key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(LONG_AGO)
        .not_valid_after(LONG_AGO + dt.timedelta(days=1))
    )
    if identifiers:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(name, builder.sign(signer, algorithm), key)


@functools.cache
def chain(kind: str = "ed25519") -> Chain:
    root = make("root")
    upper = make("upper", root)
    lower = make("lower", upper)
    return Chain(root, upper, lower, make("leaf", lower, new_key(kind)))


def bundle(
    leaf: Made, *others: Made, algorithm: pkcs12.PBES | None = pkcs12.PBES.PBESv2SHA256AndAES256CBC, rounds: int = 2048
) -> str:
    """Return the base64 of a PKCS#12, encrypted with PASSWORD, or with none."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if algorithm is not None:
        builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(rounds)
        encryption = builder.key_cert_algorithm(algorithm).hmac_hash(hashes.SHA256()).build(PASSWORD.encode())
    data = pkcs12.serialize_key_and_certificates(
        b"name", leaf.key, leaf.certificate, [each.certificate for each in others], encryption
    )
    return base64.b64encode(data).decode()
