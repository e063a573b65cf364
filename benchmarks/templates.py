"""How long the costliest templates hold the event loop: each reads or renders what its bounds let through, and no more.

    .venv/bin/python -m benchmarks.templates
    .venv/bin/python -m benchmarks.templates --repeats 50 search

Each line is the CPU time of one turn of the event loop, the least of all repeats, since other programs may be busy.
What is refused at last has worked until then. A turn is to stay below ten milliseconds; certificates that are encrypted
with RC2 may take twenty.
"""

import argparse
import base64
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from benchmarks.program import show
from secrets_manager.templates import RenderFailed, TemplateInvalid, parse
from secrets_manager.templates.bounds import MAX_NESTING, MAX_STEPS, MAX_TEMPLATE, MAX_TEXT
from secrets_manager.templates.keys import PrivateKey
from tests.templates.chains import PASSWORD, bundle, chain, key_pem, make
from tests.templates.hostile import bags, nested_bags, quadratic_search, slow_certificates

MAX_MILLISECONDS, MAX_WITH_RC2 = 10.0, 20.0


class Case(NamedTuple):
    """A template, and the values that its keys have."""

    name: str
    template: str
    values: dict[str, str]


class Options(argparse.Namespace):
    repeats: int
    words: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("words", nargs="*", help="cases whose names contain one of these; without any, all")
    options = parser.parse_args(namespace=Options())
    worst, too_long = 0.0, False
    for case in cases():
        if options.words and not any(word in case.name for word in options.words):
            continue
        read, render = least(case, options.repeats)
        worst = max(worst, read, render)
        too_long |= max(read, render) > (MAX_WITH_RC2 if "RC2" in case.name else MAX_MILLISECONDS)
        show(f"{case.name:42} reads in {read:6.2f} ms, renders in {render:6.2f} ms")
    show(f"the longest turn takes {worst:.2f} ms" + (" TOO LONG" if too_long else ""))


def least(case: Case, repeats: int) -> tuple[float, float]:
    """Return the least time of reading and of rendering, in milliseconds."""
    read = min(spent(lambda: parse(case.template)) for _ in range(repeats))
    try:
        template = parse(case.template)
    except TemplateInvalid:
        return read, 0.0
    return read, min(spent(lambda: template.render(lambda _, key: case.values[key])) for _ in range(repeats))


def spent(work: Callable[[], object]) -> float:
    began = time.thread_time()
    with suppress(TemplateInvalid, RenderFailed):
        work()
    return 1000 * (time.thread_time() - began)


def cases() -> Iterator[Case]:
    yield from of_language()
    yield from of_text()
    yield from of_keys()
    yield from of_derivations()
    yield from of_bundles()


def of_language() -> Iterator[Case]:
    values = {"v": "x"}
    yield Case("outputs", "{{s.v}}" * MAX_STEPS, values)
    yield Case("assignments", "{% assign x = s.v %}" * MAX_STEPS, values)
    yield Case("conditions", "{% if s.v == 'x' %}{% endif %}" * (MAX_STEPS // 2), values)
    yield Case("branches", "{% if s.v == 'y' %}" + "{% elsif s.v == 'y' %}" * 140 + "{% endif %}", values)
    yield Case("blocks", ("{% if s.v == 'x' %}" * MAX_NESTING + "{% endif %}" * MAX_NESTING) * 10, values)
    yield Case("calls", ("{{ s.v " + "|strip" * 30 + "}}") * 15, values)
    yield Case("comparisons", "{% assign x = 'x' %}" + ("{% if " + "x<>x or " * 15 + "x<>x %}{% endif %}") * 15, values)
    yield Case("markup", "{{ " + " " * (MAX_TEMPLATE - 10), values)


def of_text() -> Iterator[Case]:
    half = MAX_TEXT // 2
    fills = {
        "ASCII": "ab",
        "wide characters": "\U0001f600",
        "wide spaces": "\u2003",
        "line breaks": "\n",
        "lines": "\na",
        "Windows line breaks": "\r\n",
        "control characters": "\x01",
        "invisible characters": "\x85\ufeff\u2028",
        "percent signs": "%41",
        "base64": "QUJD",
        "base64 in lines": "Q\n",
        "sigmas": "ΑΣ",
        "quotes": '"',
    }
    filters = (
        "base64_encode base64_decode capitalize downcase upcase indent:0 indent:1 json lstrip rstrip strip "
        "strip_newlines sha256 url_encode url_decode yaml size append:'x' prepend:'x' remove:'a' replace:'a','bc' "
        "split:'a'|join:'bc' split:'a'|first default:'x'"
    )
    for name, fill in fills.items():
        for called in filters.split():
            for length in (half, 100_000, 25_000):
                value = fill * (length // len(fill))
                repeated = "{% assign x = s.v | " + called.replace("|", " | ") + " %}"
                yield Case(f"{called} on {length} of {name}", repeated * 70, {"v": value})
        value = fill * (half // len(fill))
        yield Case(f"outputs of {name}", "{% capture x %}{{s.v}}.{% endcapture %}" * 50, {"v": value})
        yield Case(f"comparison of {name}", "{% if s.v == s.w %}{% endif %}" * 70, {"v": value, "w": value + "x"})
        yield Case(f"output of {name}", "{{s.v}}{{s.v}}", {"v": value})
    fields = "{" + ",".join(f'"{number}":1' for number in range(50_000)) + "}"
    items = "[" + "1," * 200_000 + "1]"
    for size in (25_000, 100_000, 400_000):
        array = items[: size // 2 * 2 - 1] + "]"
        yield Case(f"field of an array, {size}", "{% assign x = s.v | json_field: 1 %}" * 100, {"v": array})
        part = fields[:size].rpartition(",")[0] + "}"
        yield Case(f"field of an object, {size}", '{% assign x = s.v | json_field: "1" %}' * 100, {"v": part})
    for text, sought in quadratic_search():
        values = {"v": text, "w": sought}
        name = f"for {len(sought)} in {len(text)}"
        start = "{% assign v = s.v %}{% assign w = s.w %}"
        yield Case(f"search {name}", start + ("{% if " + "v contains w or " * 15 + "v == w %}{% endif %}") * 15, values)
        for called in ("remove: w", "replace: w, 'x'", "split: w"):
            yield Case(f"{called.split(':')[0]} {name}", start + f"{{% assign x = v | {called} %}}" * 100, values)


def of_keys() -> Iterator[Case]:
    curves = (
        ec.SECP256R1(),
        ec.SECP384R1(),
        ec.SECP521R1(),
        ec.SECP256K1(),
        ec.BrainpoolP384R1(),
        ec.BrainpoolP512R1(),
    )
    keys: dict[str, PrivateKey] = {curve.name: ec.generate_private_key(curve) for curve in curves}
    keys["RSA"] = rsa.generate_private_key(65537, 4096)
    keys["Ed448"] = ed448.Ed448PrivateKey.generate()
    for name, key in keys.items():
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            if name == "Ed448" and form is not PrivateFormat.PKCS8:
                continue
            for encryption in (NoEncryption(), BestAvailableEncryption(b"x")):
                value = key.private_bytes(Encoding.PEM, form, encryption).decode()
                label = value.removeprefix("-----BEGIN ").partition("-----")[0]
                named = f"{name}, {label}" + ("" if isinstance(encryption, NoEncryption) else ", with a password")
                yield Case(f"keys of {named}", "{{ s.v | private_key: 'x' }}" * 100, {"v": value})
                copies = "".join(value.replace("\n", " " * at + "\n", 2) for at in range(40))
                yield Case(f"a value of {named}", "{{ s.v | private_key: 'x' }}" * 100, {"v": copies})


def of_derivations() -> Iterator[Case]:
    leaf = chain().leaf
    ways = (pkcs12.PBES.PBESv2SHA256AndAES256CBC, pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    for way in ways:
        for rounds in (1, 1000, 2048, 5000, 10_000, 12_000):
            value = bundle(leaf, algorithm=way, rounds=rounds)
            name = f"derivation {way.name} {rounds}"
            yield Case(name, "{{ s.v | private_key: s.p }}" * 100, {"v": value, "p": PASSWORD})
            yield Case(f"{name}, no password", "{{ s.v | private_key }}" * 100, {"v": value})


def of_bundles() -> Iterator[Case]:
    made = chain("rsa")
    many = "".join(make("one").pem for _ in range(32))
    whole = bundle(made.leaf, made.lower, made.upper, made.root, algorithm=None)
    pem = made.leaf.pem + made.lower.pem + made.upper.pem + made.root.pem + key_pem(made.leaf.key, PrivateFormat.PKCS8)
    values = {"chain": pem, "many": many, "bundle": whole, "bags": bags(32, 32), "nested": nested_bags(32, 32, 30)}
    values["rubbish"] = "-----BEGIN A-----" * 3000
    values["dashes"] = "-----BEGIN A-----" + "a-" * 20_000
    values["base64"] = base64.b64encode(bytes(200_000)).decode()
    for name, value in values.items():
        for called in ("certificates", "authorities"):
            yield Case(f"{called} of {name}", f"{{% assign x = s.v | {called} %}}" * 100, {"v": value})
    secret = PASSWORD.encode("utf-16-be") + bytes(2)
    for name, kind, count in (
        ("3DES", "3", 32),
        ("3DES", "3", 500),
        ("RC2", "5", 8),
        ("RC2", "5", 32),
        ("RC2", "5", 46),
    ):
        values = {"v": slow_certificates(count, secret, kind), "p": PASSWORD}
        yield Case(f"authorities, {count} in {name}", "{% assign x = s.v | authorities: s.p %}" * 70, values)


if __name__ == "__main__":
    main()
