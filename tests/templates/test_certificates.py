import base64
import itertools
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from secrets_manager.templates import RenderFailed
from secrets_manager.templates.der import INTEGER, OCTETS, OID, SEQUENCE, element, oid
from tests.templates.chains import PASSWORD, Made, bundle, chain, key_pem, make, new_key
from tests.templates.hostile import bags, slow_certificates
from tests.templates.values import render
from tests.templates.wrapping import (
    algorithm,
    bag,
    certificate_bag,
    encrypted,
    encrypted_as,
    encrypted_part,
    pbes2,
    pkcs12_of,
    plain_part,
)


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


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("rsa", PrivateFormat.PKCS8),
        ("rsa", PrivateFormat.TraditionalOpenSSL),
        ("ec", PrivateFormat.PKCS8),
        ("ec", PrivateFormat.TraditionalOpenSSL),
        ("ed25519", PrivateFormat.PKCS8),
    ],
)
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_key_of_any_form_becomes_pkcs8(kind: str, form: PrivateFormat, password: str | None) -> None:
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


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_lines_of_blocks_may_end_in_white_space(form: PrivateFormat, password: str | None) -> None:
    made = chain("ec")
    text = (made.leaf.pem + made.lower.pem + key_pem(made.leaf.key, form, password or "")).replace("\n", " \t\r\n")

    assert take(text, "certificates", "private_key", password=password) == [
        made.leaf.pem + made.lower.pem,
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


def test_an_issuer_of_the_same_name_is_distinguished_by_its_key() -> None:
    root = make("root")
    old, new = make("authority", root), make("authority", root)
    leaf = make("leaf", new)

    assert take(old.pem + new.pem + leaf.pem + leaf.pkcs8, "certificates") == [leaf.pem + new.pem]


def test_certificates_that_issue_each_other_end() -> None:
    one, other = make("first", identifiers=False), make("second", identifiers=False)
    first, second = make("first", other, one.key, identifiers=False), make("second", one, other.key, identifiers=False)

    assert take(first.pem + second.pem + first.pkcs8, "certificates") == [first.pem + second.pem]


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


def test_block_that_is_not_base64_is_told_from_a_value_that_is_not() -> None:
    assert "a PEM block is not base64" in refusal("-----BEGIN CERTIFICATE-----\ncanary!\n-----END CERTIFICATE-----\n")


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

    assert take(bundle(made.leaf, rounds=10_000), "private_key", password=PASSWORD) == [made.leaf.pkcs8]
    assert "too many iterations" in refusal(bundle(made.leaf, rounds=20_000), "private_key", PASSWORD)
    assert "too many iterations" in refusal(base64.b64encode(endless).decode(), "private_key", PASSWORD)


@pytest.mark.parametrize("kind", ["rsa", "ec", "brainpool"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_are_paid_for_by_how_long_they_take(kind: str, form: PrivateFormat) -> None:
    text = key_pem(new_key(kind), form)
    several = "{{ s.v | private_key }}" * 4

    if kind == "brainpool":
        with pytest.raises(RenderFailed, match="too much"):
            render(several, v=text)
    else:
        render(several, v=text)
    render("{{ s.v | private_key }}" * 2, v=text)
    with pytest.raises(RenderFailed, match="too much"):
        render("{{ s.v | private_key }}" * 18, v=text)


def test_key_on_a_curve_that_is_not_seen_is_paid_for_as_on_the_slowest() -> None:
    text = key_pem(new_key("ec"), PrivateFormat.TraditionalOpenSSL, PASSWORD)

    with pytest.raises(RenderFailed, match="too much"):
        render("{{ s.v | private_key: s.password }}" * 4, v=text, password=PASSWORD)


def test_certificates_and_bags_are_paid_for() -> None:
    many = "".join(make("one").pem for _ in range(32))

    with pytest.raises(RenderFailed, match="too much"):
        render("{% assign x = s.v | authorities %}" * 3, v=many)
    assert take(many, "authorities") == [many]
    assert "too much" in refusal(bags(32, 32))
    assert "has no certificate" in refusal(bags(8, 8))


def test_pkcs12_as_openssl_and_key_vault_make_it_is_far_from_the_bounds() -> None:
    made = chain("rsa4096")
    value = bundle(made.leaf, made.lower, made.upper, made.root)
    both = "{{ s.v | private_key: s.password }}{{ s.v | certificates: s.password }}"

    assert render(both, v=value, password=PASSWORD) == made.leaf.pkcs8 + made.leaf.pem + made.lower.pem + made.upper.pem
    assert take(value, "authorities", password=PASSWORD) == [made.root.pem]


@pytest.mark.parametrize(
    ("digest", "cipher", "iterations"),
    [("7", "42", 12_000), ("8", "42", 12_000), ("9", "42", 26_000), ("10", "2", 12_000), ("11", "2", 12_000)],
)
@pytest.mark.parametrize("inside", ["a key", "certificates"])
def test_derivation_is_paid_for_by_what_its_hash_takes(digest: str, cipher: str, iterations: int, inside: str) -> None:
    """A hash that is shorter than the key of the cipher runs twice."""

    def value(count: int) -> str:
        how = pbes2(digest, cipher, count.to_bytes(3))
        if inside == "a key":
            return pkcs12_of(plain_part(bag("2", element(SEQUENCE, how, element(OCTETS, bytes(64))))))
        return pkcs12_of(encrypted_as(how, bytes(64)))

    assert "too many iterations" in refusal(value(iterations * 12 // 10), "private_key", PASSWORD)
    assert "the password is wrong" in refusal(value(iterations), "private_key", PASSWORD)


@pytest.mark.parametrize(("kind", "iterations"), [("3", 5500), ("6", 29_000)])
def test_derivation_of_pkcs12_is_paid_for(kind: str, iterations: int) -> None:
    def value(count: int) -> str:
        return pkcs12_of(encrypted_as(algorithm(count.to_bytes(3), kind), bytes(64)))

    assert "too many iterations" in refusal(value(iterations * 12 // 10), "private_key", PASSWORD)
    assert "the password is wrong" in refusal(value(iterations), "private_key", PASSWORD)


def test_iterations_of_encrypted_pem_are_paid_for() -> None:
    key = chain().leaf.key
    protected = key.private_bytes(
        serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(PASSWORD.encode())
    )
    endless = protected.replace(element(INTEGER, b"\x08\x00"), element(INTEGER, b"\x7f\xff"))
    assert endless != protected
    label = "ENCRYPTED PRIVATE KEY"
    text = f"-----BEGIN {label}-----\n{base64.b64encode(endless).decode()}\n-----END {label}-----"

    assert "too many iterations" in refusal(text, "private_key", PASSWORD)


SECRET = PASSWORD.encode("utf-16-be") + bytes(2)


def test_key_in_encrypted_contents_is_paid_for_before_it_is_decrypted() -> None:
    """Its iterations would take an hour."""
    hidden = bag("2", element(SEQUENCE, algorithm(b"\x7f\xff\xff\xff"), element(OCTETS, bytes(64))))

    assert "too many iterations" in refusal(pkcs12_of(encrypted_part(hidden, SECRET)), "private_key", PASSWORD)


def test_key_in_contents_that_only_openssl_decrypts_is_left_alone() -> None:
    """Its iterations can't be seen, so they can't be paid for: these would take an hour."""
    hidden = bag("2", element(SEQUENCE, algorithm(b"\x7f\xff\xff\xff"), element(OCTETS, bytes(64))))
    value = pkcs12_of(encrypted_part(hidden, SECRET, "5"))

    assert "the value has no private key" in refusal(value, "private_key", PASSWORD)
    assert "the value has no certificate" in refusal(value, "certificates", PASSWORD)


def test_key_may_be_encrypted_with_the_certificates() -> None:
    leaf = chain().leaf
    pkcs8 = leaf.key.private_bytes(serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.NoEncryption())

    assert take(pkcs12_of(encrypted_part(bag("1", pkcs8), SECRET)), "private_key", password=PASSWORD) == [leaf.pkcs8]


def test_certificates_that_are_encrypted_are_paid_for_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL takes half a millisecond for each of these."""
    monkeypatch.setattr(pkcs12, "load_pkcs12", None)

    assert "more than 32 parts" in refusal(slow_certificates(33, SECRET), password=PASSWORD)
    assert "bytes are encrypted with RC2, in all filters together: export them again" in refusal(
        slow_certificates(60, SECRET, "5"), password=PASSWORD
    )


@pytest.mark.parametrize("count", [8, 32])
def test_certificates_that_are_encrypted_with_rc2_are_bounded_in_all_filters_together(count: int) -> None:
    """OpenSSL takes 15 milliseconds for those that the bound lets through."""
    value = slow_certificates(count, SECRET, "5")

    assert f"0 of {count} certificates have issued none" in refusal(value, password=PASSWORD)
    render("{% assign x = s.v | authorities: s.p %}" * (40 // count), v=value, p=PASSWORD)
    with pytest.raises(RenderFailed, match="more than 8192 bytes are encrypted with RC2, in all filters together"):
        render("{% assign x = s.v | authorities: s.p %}" * (40 // count + 1), v=value, p=PASSWORD)


@pytest.mark.parametrize(("length", "message"), [(64, "the password is wrong"), (8192, "too many iterations")])
def test_each_byte_that_is_encrypted_with_rc2_is_paid_for(length: int, message: str) -> None:
    value = pkcs12_of(encrypted_as(algorithm((29_500).to_bytes(2), "5"), bytes(length)))

    assert message in refusal(value, "private_key", PASSWORD)


def as_openssl_has_it(size: int, secret: bytes) -> tuple[str, Made]:
    """Return a PKCS#12 as `openssl pkcs12 -export -legacy` makes it, of so many bytes of certificates, and the leaf."""
    usual, times = (2048).to_bytes(2), 2048
    leaf = chain("rsa").leaf
    pkcs8 = leaf.key.private_bytes(serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.NoEncryption())
    bags = certificate_bag(leaf.certificate.public_bytes(serialization.Encoding.DER))
    while len(element(SEQUENCE, bags)) < size - 400:
        other = make(f"Authority {len(bags)}").certificate.public_bytes(serialization.Encoding.DER)
        bags += certificate_bag(other)
    content = encrypted(element(SEQUENCE, bags), secret, "5", times)
    assert size - 400 <= len(content) <= size
    key = element(SEQUENCE, algorithm(usual), element(OCTETS, encrypted(pkcs8, secret, "3", times)))
    return pkcs12_of(encrypted_as(algorithm(usual, "5"), content), plain_part(bag("2", key))), leaf


@pytest.mark.parametrize(("password", "secret"), [(PASSWORD, SECRET), ("", bytes(2)), ("", b"")])
def test_as_many_certificates_as_may_be_encrypted_with_rc2_are_taken(password: str, secret: bytes) -> None:
    value, leaf = as_openssl_has_it(8192, secret)

    assert take(value, "certificates", password=password) == [leaf.pem]
    assert "more than 8192 bytes are encrypted with RC2" in refusal(
        as_openssl_has_it(9000, secret)[0], password=password
    )


@pytest.mark.parametrize("kind", ["3", "5"])
def test_encrypted_certificates_are_taken(kind: str) -> None:
    made = chain()
    found = (each.certificate.public_bytes(serialization.Encoding.DER) for each in (made.leaf, made.lower))
    value = pkcs12_of(encrypted_part(element(SEQUENCE, *map(certificate_bag, found)), SECRET, kind))

    assert take(value, "certificates", password=PASSWORD) == [made.leaf.pem + made.lower.pem]
    assert "the password is wrong" in refusal(value, password="canary-2")


def test_encrypted_octets_may_be_in_pieces() -> None:
    leaf = chain().leaf
    whole = encrypted(
        element(SEQUENCE, certificate_bag(leaf.certificate.public_bytes(serialization.Encoding.DER))), SECRET
    )
    pieces = (element(OCTETS, whole[at : at + 100]) for at in range(0, len(whole), 100))

    assert take(pkcs12_of(encrypted_as(algorithm(b"\1"), b"", *pieces)), "certificates", password=PASSWORD) == [
        leaf.pem
    ]


def test_long_passwords_and_salts_are_paid_for() -> None:
    """Deriving a key adds to all of them."""
    password = "x" * 20_000
    key = chain().leaf.pkcs8
    data = encrypted(base64.b64decode("".join(key.splitlines()[1:-1])), password.encode("utf-16-be") + bytes(2))
    keys = bag("2", element(SEQUENCE, algorithm(b"\1"), element(OCTETS, data)))
    salted = bag("2", element(SEQUENCE, algorithm(b"\1", salt=bytes(62_000)), element(OCTETS, bytes(64))))

    assert take(pkcs12_of(plain_part(keys)), "private_key", password=password) == [key]
    assert "too much" in refusal(pkcs12_of(*[plain_part(keys)] * 6), "private_key", password)
    assert "too much" in refusal(pkcs12_of(plain_part(salted)), "private_key", PASSWORD)


@pytest.mark.parametrize("secret", [b"", bytes(2)])
def test_empty_password_may_mean_either_of_two_secrets(secret: bytes) -> None:
    leaf = chain().leaf
    pkcs8 = leaf.key.private_bytes(serialization.Encoding.DER, PrivateFormat.PKCS8, serialization.NoEncryption())
    key = element(SEQUENCE, algorithm(b"\1"), element(OCTETS, encrypted(pkcs8, secret)))
    certificate = certificate_bag(leaf.certificate.public_bytes(serialization.Encoding.DER))
    value = pkcs12_of(encrypted_part(element(SEQUENCE, certificate), secret), plain_part(bag("2", key)))

    assert take(value, "certificates", "private_key") == [leaf.pem, leaf.pkcs8]


def test_kind_of_a_key_is_known_before_it_is_loaded() -> None:
    """Loading a large one of another kind takes seconds."""
    dsa_parameters = element(SEQUENCE, element(OID, oid("1.2.840.10040.4.1")))
    key = element(SEQUENCE, element(INTEGER, b"\0"), dsa_parameters, element(OCTETS, b"no key"))
    text = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(key).decode()}\n-----END PRIVATE KEY-----"

    assert "not of RSA, EC, Ed25519 or Ed448" in refusal(text, "private_key")


@pytest.mark.parametrize("iterations", [b"\0", b"\xff", b"\x80\0\0\0"])
def test_iterations_below_one_pay_nothing_back(iterations: bytes) -> None:
    value = pkcs12_of(plain_part(bag("2", element(SEQUENCE, algorithm(iterations), element(OCTETS, bytes(64))))))

    assert "encrypted in a way that is not supported" in refusal(value, "private_key", PASSWORD)


def test_large_keys_and_many_parts_are_refused_before_they_are_read() -> None:
    rsa = element(SEQUENCE, element(OID, oid("1.2.840.113549.1.1.1")))
    key = element(SEQUENCE, element(INTEGER, b"\0"), rsa, element(OCTETS, bytes(16_384)))
    text = f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(key).decode()}\n-----END PRIVATE KEY-----"

    assert "longer than 16384 bytes" in refusal(text, "private_key")
    assert "more than 32 parts" in refusal(bags(1, 33))
