import base64
import itertools
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from secrets_manager.templates import RenderFailed
from secrets_manager.templates.der import CONTEXT_0, INTEGER, OCTETS, OID, SEQUENCE, element, oid
from secrets_manager.templates.pbe import pkcs12_key
from tests.templates.chains import PASSWORD, bundle, chain, key_pem, make, new_key
from tests.templates.values import render


def take(value: str, *names: str, password: str | None = None) -> list[str]:
    """Return what the filters make of the value."""
    argument = "" if password is None else ": s.password"
    return [render(f"{{{{ s.v | {name}{argument} }}}}", v=value, password=password or "") for name in names]


def refusal(value: str, name: str = "certificates", password: str | None = None) -> str:
    with pytest.raises(RenderFailed, match=f"^line 1: filter {name}: ") as failure:
        take(value, name, password=password)
    assert "canary" not in str(failure.value)
    return str(failure.value)


ALL = ("certificates", "private_key", "authorities")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
@pytest.mark.parametrize("with_key", [True, False])
def test_pem_in_any_order_is_taken_apart(order: tuple[int, ...], *, with_key: bool) -> None:
    made = chain()
    text = "".join(made[each].pem for each in order) + made.leaf.pkcs8 * with_key

    assert take(text, "certificates", "authorities") == [made.leaf.pem + made.lower.pem + made.upper.pem, made.root.pem]


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_key_of_any_form_becomes_pkcs8(kind: str, form: PrivateFormat, password: str | None) -> None:
    if kind == "ed25519" and form is PrivateFormat.TraditionalOpenSSL:
        pytest.skip("there is no such form")
    leaf = chain(kind).leaf
    text = key_pem(leaf.key, form, password or "") + leaf.pem

    assert take(text, "certificates", "private_key", password=password) == [leaf.pem, leaf.pkcs8]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_key_needs_the_right_password(form: PrivateFormat) -> None:
    leaf = chain("rsa").leaf
    text = key_pem(leaf.key, form, PASSWORD) + leaf.pem

    assert "the key is encrypted: give the password" in refusal(text, "private_key")
    assert "the password is wrong" in refusal(text, "private_key", "canary-2")


@pytest.mark.parametrize(
    "algorithm",
    [None, pkcs12.PBES.PBESv2SHA256AndAES256CBC, pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC],
)
@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_pkcs12_is_taken_apart(kind: str, algorithm: pkcs12.PBES | None) -> None:
    made = chain(kind)
    value = bundle(made.leaf, made.root, made.upper, made.lower, algorithm=algorithm)

    assert take(value, *ALL, password=None if algorithm is None else PASSWORD) == [
        made.leaf.pem + made.lower.pem + made.upper.pem,
        made.leaf.pkcs8,
        made.root.pem,
    ]


@pytest.mark.parametrize("algorithm", [pkcs12.PBES.PBESv2SHA256AndAES256CBC, pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC])
@pytest.mark.parametrize("password", [None, "", "canary-2"])
def test_pkcs12_needs_the_right_password(algorithm: pkcs12.PBES, password: str | None) -> None:
    assert "the password is wrong" in refusal(bundle(chain().leaf, algorithm=algorithm), "private_key", password)


def test_password_with_half_a_character_is_refused() -> None:
    with pytest.raises(RenderFailed, match=r"^line 1: filter private_key can't use the value \(UnicodeEncodeError\)$"):
        take(bundle(chain().leaf), "private_key", password="canary\ud800")


@pytest.mark.parametrize(
    "options", ["", "-legacy", "-legacy -certpbe PBE-SHA1-RC2-128", "-keypbe NONE -certpbe NONE", "-nomac"]
)
@pytest.mark.parametrize("password", ["", PASSWORD])
@pytest.mark.real
def test_pkcs12_of_openssl(tmp_path: Path, options: str, password: str) -> None:
    made = chain("rsa")
    (tmp_path / "leaf.pem").write_text(made.leaf.pkcs8 + made.leaf.pem + made.lower.pem + made.root.pem)
    command = f"openssl pkcs12 -export -in leaf.pem -out bundle.p12 -passout pass:{password} {options}"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    value = base64.encodebytes((tmp_path / "bundle.p12").read_bytes()).decode()

    assert take(value, *ALL, password=password) == [made.leaf.pem + made.lower.pem, made.leaf.pkcs8, made.root.pem]


def test_what_stands_between_blocks_is_skipped_and_each_certificate_counts_once() -> None:
    made = chain("ec")
    attributes = "Bag Attributes\n    friendlyName: -----BEGIN a-----\nsubject=CN = leaf\n"
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    pieces = [
        made.leaf.pem,
        made.lower.pem,
        made.leaf.pem,
        parameters,
        made.leaf.pkcs8,
        made.leaf.pkcs8,
        made.upper.pem,
    ]
    text = attributes + attributes.join(each.replace("\n", "\r\n") for each in pieces) + "the end"

    assert take(text, "certificates", "private_key") == [
        made.leaf.pem + made.lower.pem + made.upper.pem,
        made.leaf.pkcs8,
    ]


def test_blocks_that_follow_each_other_without_a_line_end_are_found() -> None:
    made = chain()

    assert take(made.leaf.pem.strip() + made.lower.pem.strip(), "certificates") == [made.leaf.pem + made.lower.pem]


def test_certificate_that_signs_itself_is_its_own_authority() -> None:
    made = make("self", identifiers=False)

    assert take(made.pem + made.pkcs8, *ALL) == [made.pem, made.pkcs8, made.pem]


def test_authorities_alone_are_authorities() -> None:
    first, second = make("first"), make("second")

    assert take(second.pem + first.pem, "authorities") == [second.pem + first.pem]


def test_issuer_of_the_same_name_is_told_by_its_key() -> None:
    root = make("root")
    old, new = make("authority", root), make("authority", root)
    leaf = make("leaf", new)

    assert take(old.pem + new.pem + leaf.pem + leaf.pkcs8, "certificates") == [leaf.pem + new.pem]


def test_certificates_that_issue_each_other_end() -> None:
    first = make("first", make("second"))
    second = make("second", make("first"))

    assert take(first.pem + second.pem + first.pkcs8, "certificates", "authorities") != []


def test_key_alone_needs_no_certificate() -> None:
    assert take(chain("rsa").leaf.pkcs8, "private_key") == [chain("rsa").leaf.pkcs8]


def test_key_that_belongs_to_none_of_the_certificates_is_refused() -> None:
    made = chain()
    text = made.leaf.pem + made.lower.pem + key_pem(new_key(), PrivateFormat.PKCS8)

    for name in ALL:
        assert "the private key belongs to none of the certificates" in refusal(text, name)


def test_what_does_not_have_what_is_asked_for_is_refused() -> None:
    made = chain()

    assert "has no private key" in refusal(made.leaf.pem, "private_key")
    assert "has no certificate" in refusal(made.leaf.pkcs8)
    assert "has no certificate beside the leaf" in refusal(made.leaf.pem + made.lower.pem, "authorities")
    assert "2 of 3 certificates have issued none" in refusal(made.leaf.pem + make("other").pem + made.lower.pem)
    assert "has 2 private keys" in refusal(made.leaf.pkcs8 + made.upper.pkcs8 + made.leaf.pem)
    assert "has 33 certificates: 32 at most" in refusal("".join(make("one").pem for _ in range(33)))


@pytest.mark.parametrize("value", ["", "canary", "Y2FuYXJ5", base64.b64encode(bytes.fromhex("3080020103")).decode()])
def test_what_is_neither_pem_nor_pkcs12_is_refused(value: str) -> None:
    assert any(why in refusal(value) for why in ("not base64", "neither PEM nor base64 of a PKCS#12"))


@pytest.mark.parametrize(
    "label", ["CERTIFICATE", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"]
)
@pytest.mark.parametrize("content", ["", "canary", "Y2FuYXJ5", "MAA=", "MAMCAQA="])
def test_blocks_with_rubbish_are_refused(label: str, content: str) -> None:
    refusal(f"-----BEGIN {label}-----\n{content}\n-----END {label}-----\n", "private_key", "")


def test_other_kinds_of_keys_are_refused() -> None:
    text = dsa.generate_private_key(1024).private_bytes(
        serialization.Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    assert "not of RSA, EC, Ed25519 or Ed448" in refusal(text.decode(), "private_key")


def test_iterations_are_paid_for_before_they_run() -> None:
    """Those here would take an hour."""
    made = chain()
    value = bundle(made.leaf, rounds=2049)
    endless = base64.b64decode(value).replace(element(INTEGER, b"\x08\x01"), element(INTEGER, b"\x7f\xff"))

    assert take(bundle(made.leaf, rounds=9_000), "private_key", password=PASSWORD) == [made.leaf.pkcs8]
    assert "too many iterations" in refusal(bundle(made.leaf, rounds=12_000), "private_key", PASSWORD)
    assert "too many iterations" in refusal(base64.b64encode(endless).decode(), "private_key", PASSWORD)


def test_iterations_of_encrypted_pem_are_paid_for() -> None:
    key = chain().leaf.key
    encrypted = key.private_bytes(
        serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(PASSWORD.encode())
    )
    endless = encrypted.replace(element(INTEGER, b"\x08\x00"), element(INTEGER, b"\x7f\xff"))
    assert endless != encrypted
    label = "ENCRYPTED PRIVATE KEY"
    text = f"-----BEGIN {label}-----\n{base64.b64encode(endless).decode()}\n-----END {label}-----"

    assert "too many iterations" in refusal(text, "private_key", PASSWORD)


def test_key_that_is_hidden_in_encrypted_contents_is_never_decrypted() -> None:
    """Its iterations can't be seen, so they can't be paid for: these would take an hour."""
    salt = bytes(8)
    endless = element(
        SEQUENCE,
        element(OID, oid("1.2.840.113549.1.12.1.3")),
        element(SEQUENCE, element(OCTETS, salt), element(INTEGER, b"\x7f\xff\xff\xff")),
    )
    key = element(SEQUENCE, endless, element(OCTETS, bytes(64)))
    bag = element(SEQUENCE, element(OID, oid("1.2.840.113549.1.12.10.1.2")), element(CONTEXT_0, key))
    plain = element(SEQUENCE, bag)
    plain += bytes([8 - len(plain) % 8]) * (8 - len(plain) % 8)
    secret = PASSWORD.encode("utf-16-be") + bytes(2)
    cipher = Cipher(
        TripleDES(pkcs12_key(secret, salt, 1, purpose=1, size=24)),
        modes.CBC(pkcs12_key(secret, salt, 1, purpose=2, size=8)),
    ).encryptor()
    once = element(
        SEQUENCE,
        element(OID, oid("1.2.840.113549.1.12.1.3")),
        element(SEQUENCE, element(OCTETS, salt), element(INTEGER, b"\1")),
    )
    data = element(OID, oid("1.2.840.113549.1.7.1"))
    content = element(SEQUENCE, data, once, element(0x80, cipher.update(plain) + cipher.finalize()))
    encrypted = element(SEQUENCE, element(INTEGER, b"\0"), content)
    part = element(SEQUENCE, element(OID, oid("1.2.840.113549.1.7.6")), element(CONTEXT_0, encrypted))
    parts = element(SEQUENCE, data, element(CONTEXT_0, element(OCTETS, element(SEQUENCE, part))))
    value = base64.b64encode(element(SEQUENCE, element(INTEGER, b"\3"), parts)).decode()

    assert "the value has no private key" in refusal(value, "private_key", PASSWORD)
    assert "the value has no certificate" in refusal(value, "certificates", PASSWORD)
