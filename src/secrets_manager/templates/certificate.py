"""One certificate: what tells whose it is, and who has issued it."""

import ssl

import msgspec
from cryptography import x509

from secrets_manager.templates import der
from secrets_manager.templates.bounds import CERTIFICATE, Budget
from secrets_manager.templates.der import Element
from secrets_manager.templates.errors import Refused

_VERSION, _EXTENSIONS, _KEY_IDENTIFIER = 0xA0, 0xA3, 0x80
_SUBJECT_KEY_IDENTIFIER, _AUTHORITY_KEY_IDENTIFIER = der.oid("2.5.29.14"), der.oid("2.5.29.35")


class Certificate(msgspec.Struct, frozen=True):
    """A certificate, and the parts of it that are compared, in DER. A key identifier is empty where it is not given."""

    data: bytes
    issuer: bytes
    subject: bytes
    public_key: bytes
    identifier: bytes
    issuer_identifier: bytes

    @classmethod
    def load(cls, budget: Budget, data: bytes) -> "Certificate":
        """Raises: Refused."""
        budget.pay(CERTIFICATE)
        try:
            signed = x509.load_der_x509_certificate(data).tbs_certificate_bytes
        except Exception as error:  # noqa: BLE001 - cryptography's: the text may quote the value
            raise Refused(f"a certificate can't be read ({type(error).__name__})") from None
        fields = [each for each in der.only(signed).children() if each.tag != _VERSION]
        _serial, _algorithm, issuer, _validity, subject, public_key, *_ = fields
        extensions = _extensions(fields)
        own, issuers = extensions.get(_SUBJECT_KEY_IDENTIFIER), extensions.get(_AUTHORITY_KEY_IDENTIFIER)
        return cls(
            data=data,
            issuer=issuer.whole,
            subject=subject.whole,
            public_key=public_key.whole,
            identifier=der.only(own).content if own else b"",
            issuer_identifier=_key_identifier(der.only(issuers)) if issuers else b"",
        )

    @property
    def pem(self) -> str:
        return ssl.DER_cert_to_PEM_cert(self.data)

    @property
    def is_self_signed(self) -> bool:
        return self.may_have_issued(self)

    def may_have_issued(self, other: "Certificate") -> bool:
        """Whether the names are right, and the key identifiers where both are given."""
        if self.subject != other.issuer:
            return False
        return not self.identifier or not other.issuer_identifier or self.identifier == other.issuer_identifier


def _extensions(fields: list[Element]) -> dict[bytes, bytes]:
    """Return the values of the extensions by their names."""
    found: dict[bytes, bytes] = {}
    for field in fields:
        if field.tag == _EXTENSIONS:
            for extension in der.only(field.content).children():
                name, *_, value = extension.children()
                found[name.content] = value.content
    return found


def _key_identifier(authority: Element) -> bytes:
    parts = authority.children() if authority.content else []
    return next((each.content for each in parts if each.tag == _KEY_IDENTIFIER), b"")
