"""The wrapping of a PKCS#12, made piece by piece."""

import base64

from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, OID, SEQUENCE, element, oid
from secrets_manager.templates.pbe import pkcs12_key

SALT = bytes(8)


def algorithm(iterations: bytes, kind: str = "3", salt: bytes = SALT) -> bytes:
    """Return the identifier of PKCS#12's encryption, with 3DES if nothing else is said; 5 is RC2 of 128 bits."""
    parameters = element(SEQUENCE, element(OCTETS, salt), element(INTEGER, iterations))
    return element(SEQUENCE, element(OID, oid(f"1.2.840.113549.1.12.1.{kind}")), parameters)


def pbes2(digest: str, cipher: str, iterations: bytes) -> bytes:
    """Return the identifier of PBES2 with AES."""
    function = element(SEQUENCE, element(OID, oid(f"1.2.840.113549.2.{digest}")))
    details = element(SEQUENCE, element(OCTETS, SALT), element(INTEGER, iterations), function)
    derivation = element(SEQUENCE, element(OID, oid("1.2.840.113549.1.5.12")), details)
    encryption = element(SEQUENCE, element(OID, oid(f"2.16.840.1.101.3.4.1.{cipher}")), element(OCTETS, bytes(16)))
    return element(SEQUENCE, element(OID, oid("1.2.840.113549.1.5.13")), element(SEQUENCE, derivation, encryption))


def encrypted(plain: bytes, secret: bytes, kind: str = "3", iterations: int = 1) -> bytes:
    """Encrypt so."""
    padding = 8 - len(plain) % 8
    iv = pkcs12_key(secret, SALT, iterations, purpose=2, size=8)
    if kind == "3":
        cipher = Cipher(TripleDES(pkcs12_key(secret, SALT, iterations, purpose=1, size=24)), modes.CBC(iv))
    else:
        cipher = Cipher(RC2(pkcs12_key(secret, SALT, iterations, purpose=1, size=16)), modes.CBC(iv))
    encryptor = cipher.encryptor()
    return encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()


DATA = element(OID, oid("1.2.840.113549.1.7.1"))


def bag(kind: str, content: bytes) -> bytes:
    name = element(OID, oid(f"1.2.840.113549.1.12.10.1.{kind}"))
    return element(SEQUENCE, element(SEQUENCE, name, element(CONTEXT_0, content)))


def plain_part(bags: bytes) -> bytes:
    return element(SEQUENCE, DATA, element(CONTEXT_0, element(OCTETS, bags)))


def certificate_bag(certificate: bytes) -> bytes:
    """Return the bag alone; they are put together in a sequence."""
    value = element(
        SEQUENCE, element(OID, oid("1.2.840.113549.1.9.22.1")), element(CONTEXT_0, element(OCTETS, certificate))
    )
    return element(SEQUENCE, element(OID, oid("1.2.840.113549.1.12.10.1.3")), element(CONTEXT_0, value))


def encrypted_part(bags: bytes, secret: bytes, kind: str = "3") -> bytes:
    return encrypted_as(algorithm(b"\1", kind), encrypted(bags, secret, kind))


def encrypted_as(how: bytes, data: bytes, *pieces: bytes) -> bytes:
    """Return the part with the encrypted data, or with pieces of it in place of that."""
    content = element(SEQUENCE, DATA, how, element(CONTEXT_0, *pieces) if pieces else element(0x80, data))
    name = element(OID, oid("1.2.840.113549.1.7.6"))
    return element(SEQUENCE, name, element(CONTEXT_0, element(SEQUENCE, element(INTEGER, b"\0"), content)))


def pkcs12_of(*parts: bytes) -> str:
    return base64.b64encode(element(SEQUENCE, element(INTEGER, b"\3"), plain_part(element(SEQUENCE, *parts)))).decode()
