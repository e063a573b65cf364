"""Filters that take certificates apart: a bundle in PEM, or the base64 of a PKCS#12, as Key Vault has them.

The leaf is the certificate of the private key; where there is no key, the one that has issued none of the others. The
chain goes on from it by the names of issuers, and by key identifiers where they are given, up to the first that is
self-signed; what is not on it are authorities. No signature and no date is examined.
"""

import re

import msgspec

from secrets_manager.templates import der, keys
from secrets_manager.templates.bounds import Budget
from secrets_manager.templates.certificate import Certificate
from secrets_manager.templates.data_filters import from_base64, from_pem
from secrets_manager.templates.errors import Refused
from secrets_manager.templates.pbe import Password
from secrets_manager.templates.pkcs12 import Contents

MAX_CERTIFICATES = 32
"""In a bundle, each once."""
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*(?:-(?!----)[^-]*)*)-----END \1-----")


def certificates(budget: Budget, text: str, password: str | None = None) -> str:
    """Return the leaf and its intermediates, in PEM. Raises: Refused."""
    return _pem(_bundle(budget, text, password).chain())


def private_key(budget: Budget, text: str, password: str | None = None) -> str:
    """Return the private key as PKCS#8 in PEM. Raises: Refused."""
    bundle = _bundle(budget, text, password)
    if bundle.key is None:
        raise Refused("the value has no private key")
    if bundle.certificates:
        bundle.chain()
    return keys.pem(bundle.key)


def authorities(budget: Budget, text: str, password: str | None = None) -> str:
    """Return the certificates that are not on the chain, in PEM. Raises: Refused."""
    found = _bundle(budget, text, password).authorities()
    if not found:
        raise Refused("the value has no certificate beside the leaf and its intermediates: leave this key out")
    return _pem(found)


class _Bundle(msgspec.Struct, frozen=True):
    """The certificates of a value, each once and in its order, and the key."""

    certificates: list[Certificate]
    key: keys.PrivateKey | None

    def chain(self) -> list[Certificate]:
        """Return the leaf, and the intermediates that lead away from it. Raises: Refused."""
        chain = [self._leaf()]
        while not chain[-1].is_self_signed:
            issuers = [
                each
                for each in self.certificates
                if each not in chain and each.may_have_issued(chain[-1]) and not each.is_self_signed
            ]
            if not issuers:
                break
            chain.append(issuers[0])
        return chain

    def authorities(self) -> list[Certificate]:
        """Raises: Refused."""
        if self.key is None and self.certificates and all(each.is_self_signed for each in self.certificates):
            return self.certificates
        chain = self.chain()
        others = [each for each in self.certificates if each not in chain]
        return others or [each for each in chain if each.is_self_signed]

    def _leaf(self) -> Certificate:
        if not self.certificates:
            raise Refused("the value has no certificate")
        if self.key is None:
            return self._issuer_of_none()
        public = keys.public_half(self.key)
        for certificate in self.certificates:
            if certificate.public_key == public:
                return certificate
        raise Refused("the private key belongs to none of the certificates")

    def _issuer_of_none(self) -> Certificate:
        found = [
            each
            for each in self.certificates
            if not any(other != each and each.may_have_issued(other) for other in self.certificates)
        ]
        if len(found) == 1:
            return found[0]
        raise Refused(
            f"there is no private key to tell the leaf by, and {len(found)} of {len(self.certificates)} certificates "
            "have issued none of the others"
        )


def _bundle(budget: Budget, text: str, password: str | None) -> _Bundle:
    if "-----BEGIN " in text:
        found, private = _from_pem(budget, text, None if password is None else Password(password))
    else:
        contents = Contents(budget, from_base64(text), Password(password or ""))
        found, private = contents.certificates, contents.keys
    if len(private) > 1 and len({keys.public_half(each) for each in private}) > 1:
        raise Refused(f"the value has {len(private)} private keys, and a chain has one")
    distinct = list(dict.fromkeys(found))
    if len(distinct) > MAX_CERTIFICATES:
        raise Refused(f"the value has {len(distinct)} certificates: {MAX_CERTIFICATES} at most are taken apart")
    return _Bundle(distinct, private[0] if private else None)


def _from_pem(budget: Budget, text: str, password: Password | None) -> tuple[list[Certificate], list[keys.PrivateKey]]:
    """Return what the PEM blocks contain; what stands between them, such as bag attributes, is skipped."""
    found: list[Certificate] = []
    private: list[keys.PrivateKey] = []
    blocks = {block[0]: block for block in _BLOCK.finditer(text)}
    for block in blocks.values():
        match block[1]:
            case "CERTIFICATE" | "X509 CERTIFICATE":
                found.append(Certificate.load(budget, from_pem(block[2])))
            case "PRIVATE KEY":
                private.append(keys.load_pkcs8(budget, from_pem(block[2])))
            case "ENCRYPTED PRIVATE KEY":
                private.append(keys.load_encrypted_pkcs8(budget, der.only(from_pem(block[2])), password))
            case "RSA PRIVATE KEY" | "EC PRIVATE KEY":
                private.append(keys.load_traditional(budget, block[0], block[2], password))
            case _:
                continue
    return found, private


def _pem(certificates: list[Certificate]) -> str:
    return "".join(each.pem for each in certificates)
