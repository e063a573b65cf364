"""Load private keys: RSA, EC, Ed25519 and Ed448, each kind known before it is loaded."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from secrets_manager.templates import der
from secrets_manager.templates.bounds import KEY, SLOW_KEY, Budget
from secrets_manager.templates.data_filters import from_pem
from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, SEQUENCE, Element
from secrets_manager.templates.errors import Refused
from secrets_manager.templates.pbe import NEEDS_PASSWORD, WRONG_PASSWORD, Encryption, Password

MAX_KEY = 16 * 1024
"""Bytes."""
_EC = der.oid("1.2.840.10045.2.1")
_KINDS = frozenset((_EC, *map(der.oid, ("1.2.840.113549.1.1.1", "1.3.101.112", "1.3.101.113"))))
_FAST_CURVES = frozenset(map(der.oid, ("1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35")))
"""P-256, P-384 and P-521."""

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


def load_pkcs8(budget: Budget, data: bytes) -> PrivateKey:
    """Load a PrivateKeyInfo in DER. Raises: Refused.

    Whether the numbers of an RSA key are primes is not examined: that takes a third of a second.
    """
    _, algorithm = der.take(der.only(data), INTEGER, SEQUENCE)
    kind, *parameters = algorithm.children()
    if kind.content not in _KINDS:
        raise Refused("the private key is not of RSA, EC, Ed25519 or Ed448")
    if len(data) > MAX_KEY:
        raise Refused(f"the private key is longer than {MAX_KEY} bytes")
    budget.pay(_cost_on_curve(parameters) if kind.content == _EC else KEY)
    try:
        key = serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except Exception as error:  # noqa: BLE001 - cryptography's and OpenSSL's: the text may quote the value
        raise Refused(f"the private key can't be read ({type(error).__name__})") from None
    return _known(key)


def load_encrypted_pkcs8(budget: Budget, info: Element, password: Password | None) -> PrivateKey:
    """Load an EncryptedPrivateKeyInfo. Raises: Refused."""
    algorithm, data = der.take(info, SEQUENCE, OCTETS)
    if password is None:
        raise Refused(NEEDS_PASSWORD)
    for decrypted in Encryption(algorithm).decrypted(budget, data.content, password):
        if _is_pkcs8(decrypted):
            return load_pkcs8(budget, decrypted)
    raise Refused(WRONG_PASSWORD)


def _is_pkcs8(data: bytes) -> bool:
    """Whether it is one at all: of a wrong password's results one in some hundred has a padding."""
    try:
        der.take(der.only(data), INTEGER, SEQUENCE, OCTETS)
    except Refused:
        return False
    return True


def load_traditional(budget: Budget, block: str, body: str, password: Password | None) -> PrivateKey:
    """Load a PEM block of OpenSSL's own forms, `RSA PRIVATE KEY` or `EC PRIVATE KEY`. Raises: Refused."""
    encrypted = "DEK-Info" in body
    if block.startswith("-----BEGIN RSA "):
        budget.pay(KEY)
    else:
        budget.pay(SLOW_KEY if encrypted else _cost_on_curve(_parameters(body)))
    if encrypted and password is None:
        raise Refused(NEEDS_PASSWORD)
    secret = password.text.encode() if encrypted and password is not None else None
    lines = "\n".join(line.strip() for line in block.split("\n"))  # headers take no white space around
    try:
        key = serialization.load_pem_private_key(lines.encode(), secret, unsafe_skip_rsa_key_validation=True)
    except Exception as error:  # noqa: BLE001 - cryptography's and OpenSSL's: the text may quote the value
        raise Refused(
            WRONG_PASSWORD if encrypted else f"the private key can't be read ({type(error).__name__})"
        ) from None
    return _known(key)


def _parameters(body: str) -> list[Element]:
    """Return what names the curve in an EC PRIVATE KEY."""
    parts = der.only(from_pem(body)).children()
    return [named for part in parts if part.tag == CONTEXT_0 for named in part.children()]


def _cost_on_curve(parameters: list[Element]) -> int:
    named = [each.content for each in parameters]
    return KEY if len(named) == 1 and named[0] in _FAST_CURVES else SLOW_KEY


def public_half(key: PrivateKey) -> bytes:
    """Return the public key, as a certificate has it."""
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem(key: PrivateKey) -> str:
    """Return the key as PKCS#8 in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _known(key: object) -> PrivateKey:
    if isinstance(key, PrivateKey):
        return key
    raise Refused("the private key is not of RSA, EC, Ed25519 or Ed448")
