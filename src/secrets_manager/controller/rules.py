"""Validation rules of definitions, in CEL, with their messages.

They are in `x-kubernetes-validations` of the CRD. validation.py finds the same faults with the same messages, for
objects that are older than a rule, and for API servers without CEL.

No rule may fail to evaluate for an object that the schema accepts: the API server would reject every write of it, of
its status too. A rule that is false accepts writes that don't change the field (ratcheting, since Kubernetes 1.30). No
rule may exceed the API server's cost estimate for the largest object, so some are not written in the shortest way.

A field of the Go original has no enum, pattern or length: they have messages of their own, and if an enum or a length
is violated no rule is evaluated, so not all faults would be reported at once. The other lists and maps have limits:
without them their rules would exceed the cost estimate.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from secrets_manager.templates import MAX_TEMPLATE

GROUP = "secrets-manager.tuenti.io"
"""The API group of definitions, and the prefix of our own labels and annotations."""
MAX_NAME = 253
"""Characters of a Secret's name, of each of its keys and of its type."""
MAX_SHOWN = 60
"""Characters of user input in a message."""

NAME_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
KEY_PATTERN = r"\.?[-\w][-.\w]*"
"""ASCII; neither `.` nor anything with `..` at its start. Short, as the cost estimate counts its characters."""
PREFIX_PATTERN = r"[-._a-zA-Z0-9]*"
TYPE_PATTERN = r"[a-zA-Z0-9]([-._/a-zA-Z0-9]*[a-zA-Z0-9])?"

MAX_DURATION = 64
"""Characters of a duration."""
DURATION_PATTERN = r"[+-]?(0|((\d{1,5}(\.\d*)?|\.\d+)h|(\d{1,7}(\.\d*)?|\.\d+)m|(\d{1,9}(\.\d*)?|\.\d+)[mnuµμ]?s)+)"
"""A duration that CEL's duration() accepts: in 64 characters it is 203 years at most, and the limit is 292."""


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


def _is_one_of(text: str, names: Iterable[str]) -> str:
    return " || ".join(f"{text} == '{name}'" for name in names)


def _is_key(key: str) -> str:
    return f"{key}.size() <= {MAX_NAME} && {_matches(key, KEY_PATTERN)}"


_IS_KEY = _is_key("key")

SECRET_NAME = Rule(
    f"self.size() <= {MAX_NAME} && {_matches('self', NAME_PATTERN)}",
    f"spec.name {{}} can't be the name of a Secret: use at most {MAX_NAME} lower case letters, digits, '-' and '.'",
    _shown("self"),
)
KEY_NAMES = Rule(
    f"self.all(key, {_IS_KEY})",
    f"spec.keysMap: {{}} can't be a key of a Secret: use at most {MAX_NAME} letters, digits, '-', '_' and '.'",
    f'"\'" + self.filter(key, !({_IS_KEY}))[0] + "\'"',  # one of them, and whole: more costs too much by estimate
)
PATH = Rule("self != ''", "path '' is empty: write the full path, such as secret/data/app")
ENCODINGS = ("", "text", "base64", "base64url")
ENCODING = Rule(_is_one_of("self", ENCODINGS), "encoding {} is unknown: use text, base64 or base64url", _shown("self"))
PATH_OR_TEMPLATE = Rule("has(self.path) != has(self.template)", "write either path and key, or template")
KEY_AT_PATH = Rule(
    "!has(self.path) || has(self.key)", "key is missing: add the name of the key at path whose value is taken"
)
TEMPLATE_ALONE = Rule(
    "!has(self.template) || !(has(self.key) || has(self.version) || has(self.property))",
    "key, version and property have no meaning beside template: remove them",
)
TEMPLATE_LENGTH = Rule(
    f"self.size() <= {MAX_TEMPLATE}", f"template is too long: write at most {MAX_TEMPLATE} characters"
)
MAX_TEMPLATES = 64
"""Keys that are templates. Each may take some milliseconds."""
TEMPLATES = Rule(
    f"self.filter(key, has(self[key].template)).size() <= {MAX_TEMPLATES}",
    f"spec.keysMap: at most {MAX_TEMPLATES} keys may be templates: make several definitions of it",
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
    f"self == '' || (self.size() <= {MAX_DURATION} && {_matches('self', DURATION_PATTERN)})",
    "spec.refreshInterval {} is no duration: write numbers with their units, like 5s or 1m30s, at most 99999h",
    _shown("self"),
)
MIN_INTERVAL_SECONDS = 1
"""Seconds. With a shorter one, a single object would keep the backend busy."""
MIN_INTERVAL = Rule(
    f"self.size() > {MAX_DURATION} || !{_matches('self', DURATION_PATTERN)} "
    f"|| duration(self) >= duration('{MIN_INTERVAL_SECONDS}s')",
    f"spec.refreshInterval {{}} is too little: it is {MIN_INTERVAL_SECONDS}s at least",
    "self",
)


MAX_DOCUMENTS, MAX_SOURCES, MAX_TARGETS, MAX_GLOBS, MAX_RENAMED, MAX_LABELS = 32, 64, 32, 64, 256, 64
"""Items of dataFrom, sources and rolloutRestartTargets; globs and renamed keys in a document; labels or annotations."""
PATH_OR_SOURCE = Rule("has(self.path) != has(self.source)", "write either path or source")
VERSION_OF_PATH = Rule(
    "!has(self.source) || !has(self.version)", "version has no meaning beside source: write it in spec.sources"
)
GLOBS = Rule("self.all(glob, glob != '')", "include and exclude: a glob is empty: write one such as db_*")
RENAMED_KEYS = Rule(
    f"self.all(name, {_is_key('self[name]')})",
    f"rename: each key maps to a key of the Secret: use at most {MAX_NAME} letters, digits, '-', '_' and '.'",
)
PREFIX = Rule(
    _matches("self", PREFIX_PATTERN),
    "prefix {} can't be in a key of a Secret: use letters, digits, '-', '_' and '.'",
    _shown("self"),
)
UNDERSCORE = "Underscore"
CONVERSION = Rule(_is_one_of("self", ("", UNDERSCORE)), f"conversion {{}} is unknown: use {UNDERSCORE}", _shown("self"))
_KNOWN = "!has(entry.source) || (has(self.sources) && entry.source in self.sources)"
KNOWN_SOURCE = Rule(
    f"!has(self.dataFrom) || self.dataFrom.all(entry, {_KNOWN})",
    "source {} is not in spec.sources: add it there, or correct the name",
    f"self.dataFrom.map(entry, !({_KNOWN}), {_shown('entry.source')})[0]",
)
MAX_SOURCE_NAME = 63
SOURCE_PATTERN = r"[a-zA-Z_][a-zA-Z0-9_]*"
RESERVED_NAMES = (
    "and", "as", "blank", "cols", "contains", "continue", "else", "empty", "false", "for", "if",
    "in", "limit", "nil", "not", "null", "offset", "or", "required", "reversed", "true", "with",
)  # fmt: skip
"""Words of Liquid: a template can't name a source so."""
SOURCE_NAMES = Rule(
    f"self.all(name, name.size() <= {MAX_SOURCE_NAME} && {_matches('name', SOURCE_PATTERN)} "
    f"&& !({_is_one_of('name', RESERVED_NAMES)}))",
    f"spec.sources: a name is a letter or '_', then letters, digits and '_', at most {MAX_SOURCE_NAME}, "
    "and no word of the template language, such as true",
)

MAX_LABEL_NAME = 317
"""Characters: a prefix of 253, a slash, and a name of 63."""
MAX_LABEL_VALUE = 63
LABEL_NAME_PATTERN = rf"({NAME_PATTERN}/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{{0,61}}[a-zA-Z0-9])?"
LABEL_VALUE_PATTERN = r"([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWN_PREFIX = f"{GROUP}/"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which kubectl keeps the object that it applied. It is hidden, so no write of it would ever show."""
LABEL_NAMES = Rule(
    f"self.all(name, name.size() <= {MAX_LABEL_NAME} && {_matches('name', LABEL_NAME_PATTERN)} "
    f"&& name != '{MANAGED_BY}' && name != '{LAST_APPLIED}' && !name.startsWith('{OWN_PREFIX}'))",
    "spec.metadata: a name is at most 63 letters, digits, '-', '_' and '.', with a prefix such as example.com/ or "
    f"without, and neither {MANAGED_BY} nor {LAST_APPLIED} nor under {OWN_PREFIX}",
)
LABEL_VALUES = Rule(
    f"self.all(name, {_matches('self[name]', LABEL_VALUE_PATTERN)})",
    f"spec.metadata: the value of a label is at most {MAX_LABEL_VALUE} letters, digits, '-', '_' and '.', and begins "
    "and ends with a letter or a digit",
)
MERGE = "Merge"
CREATION_POLICY = Rule(
    _is_one_of("self", ("", "Owner", "Orphan", MERGE)),
    "spec.creationPolicy {} is unknown: use Owner, Orphan or Merge",
    _shown("self"),
)
_MARKED = (
    "(has(self.metadata.labels) && self.metadata.labels.size() > 0) || (has(self.metadata.annotations) "
    "&& self.metadata.annotations.size() > 0) || (has(self.metadata.copy) && !self.metadata.copy)"
)
KEYS_ONLY = Rule(
    f"!has(self.creationPolicy) || self.creationPolicy != '{MERGE}' || !((has(self.type) && self.type != '') "
    f"|| (has(self.immutable) && self.immutable) || (has(self.metadata) && ({_MARKED})) "
    "|| (has(self.rolloutRestartTargets) && self.rolloutRestartTargets.size() > 0))",
    f"spec.creationPolicy {MERGE} writes keys alone: remove type, immutable, metadata and rolloutRestartTargets",
)
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
WORKLOAD_KIND = Rule(
    _is_one_of("self", WORKLOAD_KINDS),
    "kind {} can't be restarted: use Deployment, StatefulSet or DaemonSet",
    _shown("self"),
)
WORKLOAD_NAME = Rule(
    _matches("self", NAME_PATTERN),
    f"name {{}} can't be the name of a workload: use at most {MAX_NAME} lower case letters, digits, '-' and '.'",
    _shown("self"),
)
ANY_KEY = Rule(
    "(has(self.keysMap) && self.keysMap.size() > 0) || (has(self.dataFrom) && self.dataFrom.size() > 0)",
    "spec.keysMap names no key: add one, or a document to spec.dataFrom, or delete this definition",
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
            f"!has(self.type) || self.type != '{self.secret_type}' || (has(self.keysMap) && ({found})) "
            "|| (has(self.dataFrom) && self.dataFrom.size() > 0)",
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
