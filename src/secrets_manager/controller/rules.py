"""Validation rules of definitions, in CEL, with their messages.

They are in `x-kubernetes-validations` of the CRD. validation.py finds the same faults with the same messages, for
objects that are older than a rule, and for API servers without CEL.

No rule may fail to evaluate for an object that the schema accepts: the API server would reject every write of it, of
its status too. A rule that is false accepts writes that don't change the field (ratcheting, since Kubernetes 1.30). No
rule may exceed the API server's cost estimate for the largest object, so some are not written in the shortest way.

A field with a rule has no enum, pattern or length: they have messages of their own, and if an enum or a length is
violated no rule is evaluated, so not all faults would be reported at once.
"""

import json
from typing import NamedTuple

from secrets_manager.durations import MAX_LENGTH as MAX_DURATION
from secrets_manager.durations import PATTERN as DURATION
from secrets_manager.durations import UNITS

MAX_NAME = 253
"""Characters of a Secret's name, of each of its keys and of its type."""
MAX_SHOWN = 60
"""Characters of user input in a message."""

NAME_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
KEY_PATTERN = r"[-._a-zA-Z0-9]+"
TYPE_PATTERN = r"[a-zA-Z0-9]([-._/a-zA-Z0-9]*[a-zA-Z0-9])?"

_SURE_DURATION = rf"[+-]?(0|(([0-9]{{1,5}}(\.[0-9]*)?|\.[0-9]+)({UNITS}))+)"
"""A duration that CEL's duration() accepts: 64 characters hold ten times 99999h, 114 years; the limit is 292 years."""


class Rule(NamedTuple):
    """A validation rule of a field."""

    expression: str
    """CEL; `self` is the value of the field."""
    message: str
    """The message if it is false. `{}` stands for the offender."""
    offender: str = ""
    """CEL for the offender, if the message has a place for it."""

    def fault(self, offender: str = "") -> str:
        """Return the message about an offender."""
        return self.message.format(offender)

    @property
    def validation(self) -> dict[str, str]:
        """The rule in the CRD's schema. The plain message replaces one with a line break."""
        plain = {"rule": self.expression, "message": self.message.replace("{} ", "")}
        if not self.offender:
            return plain
        before, after = (json.dumps(part) for part in self.message.split("{}"))
        return plain | {"messageExpression": f"{before} + {self.offender} + {after}"}


def validations(*rules: Rule) -> dict[str, object]:
    """Return the part of a field's schema for its rules."""
    return {"x-kubernetes-validations": [rule.validation for rule in rules]}


def _matches(text: str, pattern: str) -> str:
    return f"{text}.matches(r'^({pattern})$')"


def _shown(text: str) -> str:
    """Return CEL for a text in quotes, truncated."""
    return f"\"'\" + ({text}.size() > {MAX_SHOWN} ? {text}.substring(0, {MAX_SHOWN}) + '...' : {text}) + \"'\""


_IS_KEY = f"key.size() <= {MAX_NAME} && {_matches('key', KEY_PATTERN)} && key != '.' && !key.startsWith('..')"
_BAD_KEYS = f"self.filter(key, !({_IS_KEY}))"

SECRET_NAME = Rule(
    f"self.size() <= {MAX_NAME} && {_matches('self', NAME_PATTERN)}",
    f"spec.name {{}} can't be the name of a Secret: use at most {MAX_NAME} lower case letters, digits, '-' and '.'",
    _shown("self"),
)
NOT_EMPTY = Rule("self.size() > 0", "spec.keysMap names no key: add one, or delete this definition")
KEY_NAMES = Rule(
    f"self.all(key, {_IS_KEY})",
    f"spec.keysMap: {{}} can't be a key of a Secret: use at most {MAX_NAME} letters, digits, '-', '_' and '.'",
    f"{_shown(f'{_BAD_KEYS}[0]')} + ({_BAD_KEYS}.size() == 1 ? '' : ' and others')",  # more costs too much by estimate
)
PATH = Rule("self != ''", "path '' is empty: write the full path, such as secret/data/app")
ENCODINGS = ("", "text", "base64")
ENCODING = Rule(
    " || ".join(f"self == '{name}'" for name in ENCODINGS), "encoding {} is unknown: use text or base64", _shown("self")
)
SECRET_TYPE = Rule(
    f"self == '' || (self.size() <= {MAX_NAME} && {_matches('self', TYPE_PATTERN)})",
    "spec.type {} can't be the type of a Secret: use Opaque or kubernetes.io/tls",
    _shown("self"),
)
SERVICE_ACCOUNT = "kubernetes.io/service-account-token"
NOT_SERVICE_ACCOUNT = Rule(
    f"self != '{SERVICE_ACCOUNT}'", f"spec.type {SERVICE_ACCOUNT}: such Secrets are made by Kubernetes itself"
)
INTERVAL = Rule(
    f"self == '' || (self.size() <= {MAX_DURATION} && {_matches('self', DURATION)})",
    "spec.refreshInterval {} is no duration: write numbers with their units, like 5s, 1m30s or 300ms",
    _shown("self"),
)
MIN_INTERVAL_SECONDS = 1
"""Seconds. With a shorter one, a single object would keep the backend busy."""
MIN_INTERVAL = Rule(
    f"self.size() > {MAX_DURATION} || !{_matches('self', _SURE_DURATION)} "
    f"|| duration(self) >= duration('{MIN_INTERVAL_SECONDS}s')",
    f"spec.refreshInterval {{}} is too little: it is {MIN_INTERVAL_SECONDS}s at least",
    "self",
)


class RequiredKey(NamedTuple):
    """A key that a Secret of a type must have; one of several suffices."""

    secret_type: str
    keys: tuple[str, ...]
    advice: str = ": add it to spec.keysMap, or use type Opaque"

    @property
    def rule(self) -> Rule:
        """The rule, which is on the whole spec."""
        found = " || ".join(f"'{key}' in self.keysMap" for key in self.keys)
        return Rule(
            f"!has(self.type) || self.type != '{self.secret_type}' || (has(self.keysMap) && ({found}))",
            f"spec.type {self.secret_type} needs the key {' or '.join(self.keys)}{self.advice}",
        )


REQUIRED_KEYS = (
    RequiredKey("kubernetes.io/tls", ("tls.crt",)),
    RequiredKey("kubernetes.io/tls", ("tls.key",)),
    RequiredKey("kubernetes.io/ssh-auth", ("ssh-privatekey",)),
    RequiredKey("kubernetes.io/dockercfg", (".dockercfg",)),
    RequiredKey("kubernetes.io/dockerconfigjson", (".dockerconfigjson",)),
    RequiredKey("kubernetes.io/basic-auth", ("username", "password"), advice=" in spec.keysMap"),
)
