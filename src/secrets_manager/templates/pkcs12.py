"""Take a PKCS#12 apart: certificates and the private key, at a cost that is paid before.

cryptography's own function examines the primes of RSA keys for half a second, runs any number of iterations, and reads
any number of certificates. So all of it is read here, but certificates that are encrypted with RC2: nothing else
decrypts that. OpenSSL gets these, if they are few, with a key of ours before them, as it takes the first key and leaves
all others alone. The MAC is not verified: it tells whether the password is right, as decrypting does, and costs as much
again.
"""

import hmac
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from secrets_manager.templates import der
from secrets_manager.templates.bounds import BAG, Budget
from secrets_manager.templates.certificate import Certificate
from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, OID, SEQUENCE, Element
from secrets_manager.templates.errors import Refused
from secrets_manager.templates.keys import PrivateKey, load_encrypted_pkcs8, load_pkcs8
from secrets_manager.templates.pbe import WRONG_PASSWORD, Encryption, Password, pkcs12_key

_DATA = der.oid("1.2.840.113549.1.7.1")
_ENCRYPTED_DATA = der.oid("1.2.840.113549.1.7.6")
_KEY_BAG, _SHROUDED_KEY_BAG, _CERT_BAG = (der.oid(f"1.2.840.113549.1.12.10.1.{each}") for each in (1, 2, 3))
_NOT_PKCS12 = "the value is neither PEM nor base64 of a PKCS#12 in DER"
_STAND_IN = bytes.fromhex("302e020100300506032b657004220420") + bytes(32)
"""An Ed25519 key, all zeros."""
_SALT = bytes(8)
_SHA1 = der.element(SEQUENCE, der.element(OID, der.oid("1.3.14.3.2.26")))


class Contents:
    """What a PKCS#12 contains."""

    def __init__(self, budget: Budget, data: bytes, password: Password) -> None:
        """Raises: Refused."""
        self._budget = budget
        self._password = password
        self.certificates: list[Certificate] = []
        self.keys: list[PrivateKey] = []
        parts = list(_contents(data))
        if not {name for name, _ in parts} <= {_DATA, _ENCRYPTED_DATA}:
            raise Refused("the PKCS#12 is encrypted for a certificate: export it with a password")
        for name, content in parts:
            if name == _ENCRYPTED_DATA:
                self._take_encrypted(content)
        for name, content in parts:  # keys after certificates, by which the secret of an empty password is known
            if name == _DATA:
                self._take_bags(der.only(content.content))

    def _take_bags(self, bags: Element) -> None:
        for bag in bags.children() if bags.content else []:
            self._budget.pay(BAG)
            name, wrapped = der.take(bag, OID, CONTEXT_0)
            value = der.only(wrapped.content)
            if name.content == _KEY_BAG:
                self.keys.append(load_pkcs8(self._budget, value.whole))
            elif name.content == _SHROUDED_KEY_BAG:
                self.keys.append(load_encrypted_pkcs8(self._budget, value, self._password))
            elif name.content == _CERT_BAG:
                certificate = der.only(der.take(value, OID, CONTEXT_0)[1].content)
                self.certificates.append(Certificate.load(self._budget, certificate.content))

    def _take_encrypted(self, encrypted: Element) -> None:
        _, content = der.take(encrypted, INTEGER, SEQUENCE)
        _, algorithm = der.take(content, OID, SEQUENCE)
        encryption = Encryption(algorithm)
        data = _octets(content)
        if encryption.is_rc2:
            self._budget.pay_rc2(len(data))  # once: with one secret at most there are certificates to read
        for secret in self._password.secrets:
            self._password.secrets = [secret]
            if encryption.is_rc2:
                taken = self._takes_rc2(encryption, encrypted, secret)
            else:
                taken = self._takes(encryption, data)
            if taken:
                return
        raise Refused(WRONG_PASSWORD)

    def _takes(self, encryption: Encryption, data: bytes) -> bool:
        """Take the bags, unless the password is wrong."""
        for decrypted in encryption.decrypted(self._budget, data, self._password):
            if _is_sequence(decrypted):
                self._take_bags(der.only(decrypted))
                return True
        return False

    def _takes_rc2(self, encryption: Encryption, encrypted: Element, secret: bytes) -> bool:
        """Take the certificates alone, unless the password is wrong."""
        encryption.pay(self._budget, secret)
        try:
            loaded = pkcs12.load_pkcs12(_behind_stand_in(encrypted, secret), self._password.text.encode())
        except ValueError:
            return False
        found = [loaded.cert, *loaded.additional_certs]
        ders = [each.certificate.public_bytes(Encoding.DER) for each in found if each is not None]
        self.certificates += [Certificate.load(self._budget, each) for each in ders]
        return True


def _octets(content: Element) -> bytes:
    """Return the encrypted octets, which BER may have in pieces."""
    _, _, *found = content.children()
    pieces = [each.children() if each.tag == CONTEXT_0 else [each] for each in found]
    return b"".join(piece.content for each in pieces for piece in each)


def _is_sequence(data: bytes) -> bool:
    """Whether it is one at all: of a wrong password's results one in some hundred has a padding."""
    try:
        return der.only(data).tag == SEQUENCE
    except Refused:
        return False


def _contents(data: bytes) -> Iterator[tuple[bytes, Element]]:
    """Yield the name and the content of each part."""
    try:
        _, authenticated = der.take(der.only(data), INTEGER, SEQUENCE)
        _, wrapped = der.take(authenticated, OID, CONTEXT_0)
        parts = der.only(der.only(wrapped.content).content).children()
    except Refused:
        raise Refused(_NOT_PKCS12) from None
    for part in parts:
        name, wrapped = der.take(part, OID, CONTEXT_0)
        yield name.content, der.only(wrapped.content)


def _behind_stand_in(encrypted: Element, secret: bytes) -> bytes:
    """Return a PKCS#12 of our own key and these encrypted contents.

    By the MAC, of one iteration, OpenSSL tells what the secret of an empty password is.
    """
    bag = der.element(SEQUENCE, der.element(OID, _KEY_BAG), der.element(CONTEXT_0, _STAND_IN))
    own = _part(_DATA, der.element(OCTETS, der.element(SEQUENCE, bag)))
    parts = der.element(SEQUENCE, own, _part(_ENCRYPTED_DATA, encrypted.whole))
    mac = hmac.digest(pkcs12_key(secret, _SALT, 1, purpose=3, size=20), parts, "sha1")
    digest = der.element(SEQUENCE, _SHA1, der.element(OCTETS, mac))
    return der.element(
        SEQUENCE,
        der.element(INTEGER, b"\3"),
        _part(_DATA, der.element(OCTETS, parts)),
        der.element(SEQUENCE, digest, der.element(OCTETS, _SALT)),
    )


def _part(name: bytes, content: bytes) -> bytes:
    return der.element(SEQUENCE, der.element(OID, name), der.element(CONTEXT_0, content))
