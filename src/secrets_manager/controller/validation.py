"""Validate definitions and data before anything is sent.

Names and limits: k8s.io/apimachinery validation (IsDNS1123Subdomain, IsConfigMapKey) and core/v1 ValidateSecret.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from secrets_manager.controller import rules
from secrets_manager.controller.definition import DataSource, InvalidSpec, Reason, Spec
from secrets_manager.controller.problem import Problem
from secrets_manager.errors import InvalidValue

MAX_SECRET_BYTES = 1024 * 1024
MAX_LISTED = 10
"""Keys in a message."""
_NAME = re.compile(rules.NAME_PATTERN)
_KEY = re.compile(rules.KEY_PATTERN)
_TYPE = re.compile(rules.TYPE_PATTERN)

_JSON_KEYS = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def validate_spec(spec: Spec | InvalidSpec) -> Spec | Problem:
    """Return the spec, or a problem with all its faults that can be found without reading sources."""
    if isinstance(spec, InvalidSpec):
        return Problem(Reason.DEFINITION_INVALID, spec.message)
    faults = "; ".join(_faults(spec))
    return Problem(Reason.DEFINITION_INVALID, faults) if faults else spec


def validate_data(secret_type: str, data: Mapping[str, bytes]) -> Problem | None:
    """Validate the values. The message contains sizes and keys, never a value."""
    size = sum(map(len, data.values()))
    if size > MAX_SECRET_BYTES:
        return Problem(
            Reason.SECRET_REJECTED,
            f"the values are {size} bytes together, and a Secret holds {MAX_SECRET_BYTES}: split it into several",
        )
    key = _JSON_KEYS.get(secret_type)
    if key is not None and not _is_json_object(data[key]):
        return Problem(Reason.SECRET_REJECTED, f"key {key}: type {secret_type} needs a JSON object there")
    return None


def is_secret_name(name: str) -> bool:
    """Whether this is a valid name of a Secret."""
    return len(name) <= rules.MAX_NAME and _NAME.fullmatch(name) is not None


def _faults(spec: Spec) -> Iterator[str]:
    """Yield all faults, in the order of the fields."""
    if not is_secret_name(spec.name):
        yield rules.SECRET_NAME.fault(_shown(spec.name))
    if not spec.keys_map:
        yield rules.NOT_EMPTY.fault()
    bad_keys = [key for key in sorted(spec.keys_map) if not _is_key(key)]
    if bad_keys:
        yield rules.KEY_NAMES.fault(_listed(bad_keys))
    for key in sorted(spec.keys_map):
        name = key if _is_key(key) else _shown(key)
        yield from (f"key {name}: {fault}" for fault in _faults_of_source(spec.keys_map[key]))
    yield from _faults_of_type(spec)
    yield from _faults_of_interval(spec)


def _is_key(key: str) -> bool:
    fits = len(key) <= rules.MAX_NAME and _KEY.fullmatch(key) is not None
    return fits and key != "." and not key.startswith("..")


def _faults_of_source(source: DataSource) -> Iterator[str]:
    if not source.path:
        yield rules.PATH.fault()
    if source.encoding not in rules.ENCODINGS:
        yield rules.ENCODING.fault(_shown(source.encoding))


def _faults_of_type(spec: Spec) -> Iterator[str]:
    if spec.secret_type == rules.SERVICE_ACCOUNT:
        yield rules.NOT_SERVICE_ACCOUNT.fault()
    if len(spec.secret_type) > rules.MAX_NAME or not _TYPE.fullmatch(spec.secret_type):
        yield rules.SECRET_TYPE.fault(_shown(spec.secret_type))
    for needed in rules.REQUIRED_KEYS:
        if spec.secret_type == needed.secret_type and spec.keys_map.keys().isdisjoint(needed.keys):
            yield needed.rule.fault()


def _faults_of_interval(spec: Spec) -> Iterator[str]:
    try:
        period = spec.period
    except InvalidValue as why:
        yield f"spec.refreshInterval {_shown(spec.refresh_interval)} {why}"
        return
    if period is not None and period < rules.MIN_INTERVAL_SECONDS:
        yield rules.MIN_INTERVAL.fault(spec.refresh_interval)


def _is_json_object(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _shown(text: str) -> str:
    """Return user input quoted, escaped and truncated."""
    return ascii(text if len(text) <= rules.MAX_SHOWN else f"{text[: rules.MAX_SHOWN]}...")


def _listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    first = ", ".join(_shown(name) for name in names[:MAX_LISTED])
    return first if len(names) <= MAX_LISTED else f"{first} and {len(names) - MAX_LISTED} more"
