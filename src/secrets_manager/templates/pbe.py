"""Decrypt keys that a password protects (PBES2 of RFC 8018, and PKCS#12's own of RFC 7292).

Done here since the iterations, which the value itself may set to billions, are to be paid for before they run, and the
kind of key is to be known before it is loaded: deriving the public half of a huge DSA key takes seconds.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from secrets_manager.templates import der
from secrets_manager.templates.bounds import Budget
from secrets_manager.templates.der import INTEGER, OCTETS, OID, SEQUENCE, Element
from secrets_manager.templates.errors import Refused

WRONG_PASSWORD = "the password is wrong, or the value is damaged"  # noqa: S105 - a message
NEEDS_PASSWORD = "the key is encrypted: give the password as the filter's argument"  # noqa: S105 - a message

_PBES2 = der.oid("1.2.840.113549.1.5.13")
_PBKDF2 = der.oid("1.2.840.113549.1.5.12")
_PKCS12_3DES = der.oid("1.2.840.113549.1.12.1.3")
_PKCS12_RC2 = tuple(der.oid(f"1.2.840.113549.1.12.1.{each}") for each in (5, 6))


class _Hash(NamedTuple):
    """A hash of PBKDF2: the bytes that it makes, and the units for an iteration that makes so many."""

    name: str
    size: int
    cost: int


_HASHES = {
    der.oid("1.2.840.113549.2.7"): _Hash("sha1", 20, 160),
    der.oid("1.2.840.113549.2.8"): _Hash("sha224", 28, 160),
    der.oid("1.2.840.113549.2.9"): _Hash("sha256", 32, 160),
    der.oid("1.2.840.113549.2.10"): _Hash("sha384", 48, 336),
    der.oid("1.2.840.113549.2.11"): _Hash("sha512", 64, 336),
}
_DEFAULT_HASH = der.oid("1.2.840.113549.2.7")
"""SHA-1, by RFC 8018."""
_3DES = der.oid("1.2.840.113549.3.7")
_KEY_BYTES = {
    der.oid("2.16.840.1.101.3.4.1.2"): 16,
    der.oid("2.16.840.1.101.3.4.1.22"): 24,
    der.oid("2.16.840.1.101.3.4.1.42"): 32,
    _3DES: 24,
}
"""By the names of the ciphers: AES and 3DES."""
_PKCS12_COST = 240
"""Units for an iteration of PKCS#12's own derivation that makes 20 bytes."""
_OPENSSL_COST = 64
"""The same, where OpenSSL does it."""
_BLOCK = 64
"""Bytes that SHA-1 takes at once."""
_USUAL = 2048
"""Iterations, as many as openssl has by default."""
_LONG = 32
"""Units for each byte of a secret and of the salt: PKCS#12's own derivation adds to them all."""
_UNKNOWN = "the value is encrypted in a way that is not supported: export it again with AES-256 and PBKDF2"


class Password:
    """A password. `secrets` is what PKCS#12 derives keys from: for an empty one there are two opinions."""

    def __init__(self, text: str) -> None:
        self.text = text
        terminated = text.encode("utf-16-be") + b"\0\0"
        self.secrets = [terminated] if text else [terminated, b""]


class Encryption:
    """How something is encrypted, by its AlgorithmIdentifier, where that is a way that is known here."""

    def __init__(self, algorithm: Element) -> None:
        """Raises: Refused."""
        name, parameters = der.take(algorithm, OID, SEQUENCE)
        self._name = name.content
        if self._name == _PBES2:
            derivation, cipher = der.take(parameters, SEQUENCE, SEQUENCE)
            kind, details = der.take(derivation, OID, SEQUENCE)
            if kind.content != _PBKDF2:
                raise Refused(_UNKNOWN)
            salt, iterations = der.take(details, OCTETS, INTEGER)
            self._hash = _hash(details)
            self._cipher, self._iv = (each.content for each in der.take(cipher, OID, OCTETS))
            if self._cipher not in _KEY_BYTES:
                raise Refused(_UNKNOWN)
            self._cost = self._hash.cost * -(-_KEY_BYTES[self._cipher] // self._hash.size)
        elif self._name == _PKCS12_3DES:
            salt, iterations = der.take(parameters, OCTETS, INTEGER)
            self._cost = 3 * _PKCS12_COST  # two for the key, one for the initialization vector
        elif self._name in _PKCS12_RC2:
            salt, iterations = der.take(parameters, OCTETS, INTEGER)
            self._cost = 2 * _OPENSSL_COST
        else:
            raise Refused(_UNKNOWN)
        self._salt = salt.content
        self._iterations = iterations.integer()

    @property
    def is_rc2(self) -> bool:
        """Whether only OpenSSL decrypts it."""
        return self._name in _PKCS12_RC2

    def pay(self, budget: Budget, secret: bytes) -> None:
        """Pay for deriving the key once. Raises: Refused."""
        if self._iterations < 1:
            raise Refused(_UNKNOWN)
        budget.pay(_LONG * (len(self._salt) + len(secret)))
        try:
            budget.pay(self._iterations * self._cost)
        except Refused:
            if self._iterations <= _USUAL:
                raise
            raise Refused(
                "deriving the key takes too many iterations: "
                f"export it again with fewer, by default openssl has {_USUAL}"
            ) from None

    def decrypted(self, budget: Budget, data: bytes, password: Password) -> Iterator[bytes]:
        """Yield what the password may make of the data; more than one where it is empty. Raises: Refused."""
        if self._name == _PBES2:
            secret = password.text.encode()
            self.pay(budget, secret)
            yield from _unpadded(self._pbes2(secret), len(self._iv), data)
        elif self._name == _PKCS12_3DES:
            for secret in password.secrets:
                self.pay(budget, secret)
                key = pkcs12_key(secret, self._salt, self._iterations, purpose=1, size=_KEY_BYTES[_3DES])
                iv = pkcs12_key(secret, self._salt, self._iterations, purpose=2, size=8)
                yield from _unpadded(Cipher(TripleDES(key), modes.CBC(iv)), len(iv), data)
        else:
            raise Refused(_UNKNOWN)

    def _pbes2(self, secret: bytes) -> Cipher[modes.CBC]:
        size = _KEY_BYTES[self._cipher]
        key = hashlib.pbkdf2_hmac(self._hash.name, secret, self._salt, self._iterations, size)
        algorithm = TripleDES(key) if self._cipher == _3DES else algorithms.AES(key)
        try:
            return Cipher(algorithm, modes.CBC(self._iv))
        except ValueError:
            raise Refused(_UNKNOWN) from None


def _hash(details: Element) -> _Hash:
    """Return the hash that the parameters of PBKDF2 name; a length of the key may stand before it."""
    named = [each for each in details.children() if each.tag == SEQUENCE]
    found = _HASHES.get(der.take(named[0], OID)[0].content if named else _DEFAULT_HASH)
    if found is None:
        raise Refused(_UNKNOWN)
    return found


def _unpadded(cipher: Cipher[modes.CBC], block: int, data: bytes) -> Iterator[bytes]:
    """Yield the plain data, or nothing where the padding is wrong."""
    decryptor = cipher.decryptor()
    padding = PKCS7(8 * block).unpadder()
    with suppress(ValueError):
        yield padding.update(decryptor.update(data) + decryptor.finalize()) + padding.finalize()


def pkcs12_key(secret: bytes, salt: bytes, iterations: int, *, purpose: int, size: int) -> bytes:
    """Derive a key or an initialization vector: RFC 7292, appendix B.2, with SHA-1."""
    state = _filled(salt) + _filled(secret)
    key = b""
    while True:
        digest = bytes([purpose]) * _BLOCK + state
        for _ in range(iterations):
            digest = hashlib.sha1(digest).digest()  # noqa: S324 - what the format demands
        key += digest
        if len(key) >= size:
            return key[:size]
        step = int.from_bytes((digest * _BLOCK)[:_BLOCK]) + 1
        state = b"".join(
            ((int.from_bytes(state[at : at + _BLOCK]) + step) % (1 << 8 * _BLOCK)).to_bytes(_BLOCK)
            for at in range(0, len(state), _BLOCK)
        )


def _filled(data: bytes) -> bytes:
    """Repeat to whole blocks."""
    size = -(-len(data) // _BLOCK) * _BLOCK
    return (data * (size // len(data) + 1))[:size] if data else b""
