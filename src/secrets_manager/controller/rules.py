"""What a definition must keep to: the rule by which the API server refuses it, and the words that users read.

Each rule is CEL, in `x-kubernetes-validations` of the CRD's schema. validation.py finds the same faults and tells them
in the same words, for objects that are older than the rule and for API servers without CEL.

No rule may fail to evaluate, whatever the schema lets through: the API server would refuse every write of that object,
also of its status. A rule that is false lets writes pass that leave the field unchanged (ratcheting, since Kubernetes
1.30). And no rule may be too expensive by the API server's estimate, which is made for the largest object that there
can be, so some are not written in the shortest way.

A field with a rule has no enum, pattern or length. The API server has its own words for these, and where an enum or a
length is broken it evaluates no rule at all, so it would not tell all faults at once.
"""

import json
from typing import NamedTuple

from secrets_manager.durations import MAX_LENGTH as MAX_DURATION
from secrets_manager.durations import PATTERN as DURATION
from secrets_manager.durations import UNITS

MAX_NAME = 253
"""Characters of a Secret's name, of each of its keys and of its type."""
MAX_SHOWN = 60
"""Characters of what a user typed that a message shows: enough to find it again."""

NAME_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
KEY_PATTERN = r"[-._a-zA-Z0-9]+"
TYPE_PATTERN = r"[a-zA-Z0-9]([-._/a-zA-Z0-9]*[a-zA-Z0-9])?"

_SURE_DURATION = rf"[+-]?(0|(([0-9]{{1,5}}(\.[0-9]*)?|\.[0-9]+)({UNITS}))+)"
"""A duration that CEL's duration() takes for sure: 64 characters hold ten times 99999h, 114 years; 292 years fit."""


class Rule(NamedTuple):
    """One thing that must hold of a field."""

    holds: str
    """CEL, where `self` is the value of the field."""
    words: str
    """The message where it does not hold. `{}` stands for what is wrong."""
    culprit: str = ""
    """CEL for what is wrong, where the words have a place for it."""

    def fault(self, culprit: str = "") -> str:
        """The words, about this culprit."""
        return self.words.format(culprit)

    @property
    def validation(self) -> dict[str, str]:
        """The rule as the CRD's schema has it. The plain message stands in for one that would have a line break."""
        plain = {"rule": self.holds, "message": self.words.replace("{} ", "")}
        if not self.culprit:
            return plain
        before, after = (json.dumps(part) for part in self.words.split("{}"))
        return plain | {"messageExpression": f"{before} + {self.culprit} + {after}"}


def validations(*rules: Rule) -> dict[str, object]:
    """What a field's schema says of its rules."""
    return {"x-kubernetes-validations": [rule.validation for rule in rules]}


def _matches(text: str, pattern: str) -> str:
    return f"{text}.matches(r'^({pattern})$')"


def _shown(text: str) -> str:
    """CEL for a text in quotes, cut."""
    return f"\"'\" + ({text}.size() > {MAX_SHOWN} ? {text}.substring(0, {MAX_SHOWN}) + '...' : {text}) + \"'\""


_IS_KEY = f"key.size() <= {MAX_NAME} && {_matches('key', KEY_PATTERN)} && key != '.' && !key.startsWith('..')"
_BAD_KEYS = f"self.filter(key, !({_IS_KEY}))"

SECRET_NAME = Rule(
    f"self.size() <= {MAX_NAME} && {_matches('self', NAME_PATTERN)}",
    f"spec.name {{}} can't be the name of a Secret: use at most {MAX_NAME} lower case letters, digits, '-' and '.'",
    _shown("self"),
)
SOME_KEY = Rule("self.size() > 0", "spec.keysMap names no key: add one, or delete this definition")
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
TYPE_OF_KUBERNETES = "kubernetes.io/service-account-token"
NOT_OF_KUBERNETES = Rule(
    f"self != '{TYPE_OF_KUBERNETES}'", f"spec.type {TYPE_OF_KUBERNETES}: such Secrets are made by Kubernetes itself"
)
INTERVAL = Rule(
    f"self == '' || (self.size() <= {MAX_DURATION} && {_matches('self', DURATION)})",
    "spec.refreshInterval {} is no duration: write numbers with their units, like 5s, 1m30s or 300ms",
    _shown("self"),
)
SHORTEST = 1
"""Seconds: more often, one object alone would keep the backend busy."""
LONG_ENOUGH = Rule(
    f"self.size() > {MAX_DURATION} || !{_matches('self', _SURE_DURATION)} || duration(self) >= duration('{SHORTEST}s')",
    f"spec.refreshInterval {{}} is too little: it is {SHORTEST}s at least",
    "self",
)


class NeededKey(NamedTuple):
    """A key that a Secret of some type must have; one of several will do."""

    secret_type: str
    keys: tuple[str, ...]
    advice: str = ": add it to spec.keysMap, or use type Opaque"

    @property
    def rule(self) -> Rule:
        """It stands at the spec as a whole."""
        found = " || ".join(f"'{key}' in self.keysMap" for key in self.keys)
        return Rule(
            f"!has(self.type) || self.type != '{self.secret_type}' || (has(self.keysMap) && ({found}))",
            f"spec.type {self.secret_type} needs the key {' or '.join(self.keys)}{self.advice}",
        )


NEEDED_KEYS = (
    NeededKey("kubernetes.io/tls", ("tls.crt",)),
    NeededKey("kubernetes.io/tls", ("tls.key",)),
    NeededKey("kubernetes.io/ssh-auth", ("ssh-privatekey",)),
    NeededKey("kubernetes.io/dockercfg", (".dockercfg",)),
    NeededKey("kubernetes.io/dockerconfigjson", (".dockerconfigjson",)),
    NeededKey("kubernetes.io/basic-auth", ("username", "password"), advice=" in spec.keysMap"),
)
