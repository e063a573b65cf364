"""What Kubernetes would refuse, found before anything is sent.

Names and limits: k8s.io/apimachinery validation (IsDNS1123Subdomain, IsConfigMapKey) and core/v1 ValidateSecret.
"""

import re
from collections.abc import Mapping

import msgspec

from secrets_manager.controller.definition import InvalidSpec, Reason, Spec
from secrets_manager.controller.problem import Problem
from secrets_manager.errors import Unfit

MAX_SECRET_BYTES = 1024 * 1024
SHORTEST_INTERVAL = 1.0
"""Seconds: more often, one object alone would keep the backend busy."""
_MAX_NAME = 253
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_TYPE = re.compile(r"[a-zA-Z0-9]([-._/a-zA-Z0-9]*[a-zA-Z0-9])?")

_NEEDED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
_JSON_TYPES = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")
_NEEDS_EITHER = "kubernetes.io/basic-auth"
_MADE_BY_KUBERNETES = "kubernetes.io/service-account-token"


def checked(spec: Spec | InvalidSpec) -> Spec | Problem:
    """The spec, or what can be told to be wrong with it without reading any source."""
    if isinstance(spec, InvalidSpec):
        return Problem(Reason.DEFINITION_INVALID, spec.message)
    fault = _first_fault(spec)
    return spec if fault is None else Problem(Reason.DEFINITION_INVALID, fault)


def check_data(secret_type: str, data: Mapping[str, bytes]) -> Problem | None:
    """What can be told only of the values: the text names sizes and keys, never a value."""
    size = sum(map(len, data.values()))
    if size > MAX_SECRET_BYTES:
        return Problem(
            Reason.SECRET_REJECTED,
            f"the values are {size} bytes together, and a Secret holds {MAX_SECRET_BYTES}: split it into several",
        )
    if secret_type in _JSON_TYPES:
        key = _NEEDED_KEYS[secret_type][0]
        if not _is_json_object(data[key]):
            return Problem(Reason.SECRET_REJECTED, f"key {key}: type {secret_type} needs a JSON object there")
    return None


def is_secret_name(name: str) -> bool:
    """Whether there can be a Secret of this name."""
    return len(name) <= _MAX_NAME and _SUBDOMAIN.fullmatch(name) is not None


def _first_fault(spec: Spec) -> str | None:
    if not is_secret_name(spec.name):
        return (
            f"spec.name {_shown(spec.name)} can't be the name of a Secret: "
            "use at most 253 lower case letters, digits, '-' and '.'"
        )
    if not spec.keys_map:
        return "spec.keysMap names no key: add one, or delete this definition"
    return _fault_of_keys(spec) or _fault_of_type(spec) or _fault_of_interval(spec)


def _fault_of_keys(spec: Spec) -> str | None:
    for key in sorted(spec.keys_map):
        if len(key) > _MAX_NAME or not _DATA_KEY.fullmatch(key) or key == "." or key.startswith(".."):
            return (
                f"spec.keysMap: {_shown(key)} can't be a key of a Secret: "
                "use at most 253 letters, digits, '-', '_' and '.'"
            )
    return None


def _fault_of_type(spec: Spec) -> str | None:
    secret_type = spec.secret_type
    if secret_type == _MADE_BY_KUBERNETES:
        return f"spec.type {secret_type}: such Secrets are made by Kubernetes itself"
    if len(secret_type) > _MAX_NAME or not _TYPE.fullmatch(secret_type):
        return f"spec.type {_shown(secret_type)} can't be the type of a Secret: use Opaque or kubernetes.io/tls"
    missing = [key for key in _NEEDED_KEYS.get(secret_type, ()) if key not in spec.keys_map]
    if missing:
        return f"spec.type {secret_type} needs the key {missing[0]}: add it to spec.keysMap, or use type Opaque"
    if secret_type == _NEEDS_EITHER and not {"username", "password"} & set(spec.keys_map):
        return f"spec.type {secret_type} needs the key username or password in spec.keysMap"
    return None


def _fault_of_interval(spec: Spec) -> str | None:
    try:
        period = spec.period
    except Unfit as why:
        return f"spec.refreshInterval {_shown(spec.refresh_interval)} {why}"
    if period is not None and period < SHORTEST_INTERVAL:
        return f"spec.refreshInterval {spec.refresh_interval} is too little: it is {SHORTEST_INTERVAL:g}s at least"
    return None


def _is_json_object(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _shown(text: str) -> str:
    """What a user typed, quoted, escaped and cut: it may be anything."""
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")  # noqa: PLR2004 - enough to find it again
