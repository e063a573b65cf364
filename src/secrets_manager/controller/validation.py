"""Validate definitions and data before anything is sent.

Limits: core/v1 ValidateSecret.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from secrets_manager.controller import rules
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.names import (
    is_key,
    is_label_name,
    is_label_value,
    is_object_name,
    is_prefix,
    is_secret_type,
    is_source_name,
    listed,
    shown,
)
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import (
    CreationPolicy,
    DataFrom,
    DataSource,
    InvalidSpec,
    RolloutRestartTarget,
    SecretMetadata,
    Spec,
)
from secrets_manager.templates import MAX_TEMPLATE

MAX_SECRET_BYTES = 1024 * 1024
MAX_READ_SOURCES = 1000
"""Distinct sources of one definition: they are read together, and each is in its status."""

_INTERVAL = re.compile(rules.DURATION_PATTERN, re.ASCII)
_JSON_KEYS = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def validate_spec(spec: Spec | InvalidSpec) -> Spec | Problem:
    """Return the spec, or a problem with all its faults that can be found without reading its templates and sources."""
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
    for needed in rules.REQUIRED_KEYS:
        if secret_type == needed.secret_type and data.keys().isdisjoint(needed.keys):
            return Problem(Reason.SECRET_REJECTED, needed.rule.fault())
    key = _JSON_KEYS.get(secret_type)
    if key is not None and not _is_json_object(data[key]):
        return Problem(Reason.SECRET_REJECTED, f"key {key}: type {secret_type} needs a JSON object there")
    return None


def _faults(spec: Spec) -> Iterator[str]:
    """Yield all faults, in the order of the fields."""
    if not is_object_name(spec.name):
        yield rules.SECRET_NAME.fault(shown(spec.name))
    if not spec.keys_map and not spec.data_from:
        yield rules.ANY_KEY.fault()
    bad_keys = [key for key in sorted(spec.keys_map) if not is_key(key)]
    if bad_keys:
        yield rules.KEY_NAMES.fault(listed(bad_keys))
    for key in sorted(spec.keys_map):
        name = key if is_key(key) else shown(key)
        yield from (f"key {name}: {fault}" for fault in _faults_of_key(spec.keys_map[key]))
    if sum(each.template is not None for each in spec.keys_map.values()) > rules.MAX_TEMPLATES:
        yield rules.TEMPLATES.fault()
    for number, entry in enumerate(spec.data_from):
        yield from (f"dataFrom[{number}]: {fault}" for fault in _faults_of_document(entry, spec))
    yield from _faults_of_sources(spec)
    if (count := len(spec.read_sources)) > MAX_READ_SOURCES:
        yield (
            f"spec names {count} sources, and at most {MAX_READ_SOURCES} may be: make several definitions of it, or "
            "write several keys at one path"
        )
    yield from _faults_of_type(spec)
    yield from _faults_of_metadata(spec.metadata)
    yield from _faults_of_policy(spec)
    for number, target in enumerate(spec.rollout_restart_targets):
        yield from (f"rolloutRestartTargets[{number}]: {fault}" for fault in _faults_of_target(target))
    yield from _faults_of_interval(spec)


def _faults_of_key(source: DataSource) -> Iterator[str]:
    if (source.path is None) == (source.template is None):
        yield rules.PATH_OR_TEMPLATE.fault()
    if source.path is not None:
        yield from _faults_of_path(source.path)
        if source.key is None:
            yield rules.KEY_AT_PATH.fault()
    if source.encoding not in rules.ENCODINGS:
        yield rules.ENCODING.fault(shown(source.encoding))
    if source.template is not None:
        if source.key is not None or source.version is not None or source.property:
            yield rules.TEMPLATE_ALONE.fault()
        if len(source.template) > MAX_TEMPLATE:
            yield rules.TEMPLATE_LENGTH.fault()


def _faults_of_path(path: str) -> Iterator[str]:
    if not path:
        yield rules.PATH.fault()


def _faults_of_document(entry: DataFrom, spec: Spec) -> Iterator[str]:
    if (entry.path is None) == (entry.source is None):
        yield rules.PATH_OR_SOURCE.fault()
    if entry.path is not None:
        yield from _faults_of_path(entry.path)
    if entry.source is not None:
        if entry.source not in spec.sources:
            yield rules.KNOWN_SOURCE.fault(shown(entry.source))
        if entry.version is not None:
            yield rules.VERSION_OF_PATH.fault()
    yield from _faults_of_choice(entry)
    if entry.encoding not in rules.ENCODINGS:
        yield rules.ENCODING.fault(shown(entry.encoding))


def _faults_of_choice(entry: DataFrom) -> Iterator[str]:
    if not all(entry.include + entry.exclude):
        yield rules.GLOBS.fault()
    if not all(map(is_key, entry.rename.values())):
        yield rules.RENAMED_KEYS.fault()
    if not is_prefix(entry.prefix):
        yield rules.PREFIX.fault(shown(entry.prefix))
    if entry.conversion not in ("", rules.UNDERSCORE):
        yield rules.CONVERSION.fault(shown(entry.conversion))


def _faults_of_sources(spec: Spec) -> Iterator[str]:
    if not all(map(is_source_name, spec.sources)):
        yield rules.SOURCE_NAMES.fault()
    for name in sorted(spec.sources):
        yield from (f"source {shown(name)}: {fault}" for fault in _faults_of_path(spec.sources[name].path))


def _faults_of_metadata(metadata: SecretMetadata) -> Iterator[str]:
    if not all(map(is_label_name, metadata.labels)):
        yield rules.LABEL_NAMES.fault()
    if not all(map(is_label_value, metadata.labels.values())):
        yield rules.LABEL_VALUES.fault()
    if not all(map(is_label_name, metadata.annotations)):
        yield rules.LABEL_NAMES.fault()


def _faults_of_policy(spec: Spec) -> Iterator[str]:
    if spec.creation_policy not in ("", *CreationPolicy):
        yield rules.CREATION_POLICY.fault(shown(spec.creation_policy))
    has_more = spec.type or spec.immutable or spec.metadata != SecretMetadata() or spec.rollout_restart_targets
    if spec.creation_policy == rules.MERGE and has_more:
        yield rules.KEYS_ONLY.fault()


def _faults_of_target(target: RolloutRestartTarget) -> Iterator[str]:
    if target.kind not in rules.WORKLOAD_KINDS:
        yield rules.WORKLOAD_KIND.fault(shown(target.kind))
    if not is_object_name(target.name):
        yield rules.WORKLOAD_NAME.fault(shown(target.name))


def _faults_of_type(spec: Spec) -> Iterator[str]:
    if spec.secret_type == rules.SERVICE_ACCOUNT:
        yield rules.NOT_SERVICE_ACCOUNT.fault()
    if not is_secret_type(spec.secret_type):
        yield rules.SECRET_TYPE.fault(shown(spec.secret_type))
    for needed in rules.REQUIRED_KEYS:
        if (
            not spec.data_from
            and spec.secret_type == needed.secret_type
            and spec.keys_map.keys().isdisjoint(needed.keys)
        ):
            yield needed.rule.fault()


def _faults_of_interval(spec: Spec) -> Iterator[str]:
    written = spec.refresh_interval
    if written and not (len(written) <= rules.MAX_DURATION and _INTERVAL.fullmatch(written)):
        yield rules.INTERVAL.fault(shown(written))
    elif spec.period is not None and spec.period < rules.MIN_INTERVAL_SECONDS:
        yield rules.MIN_INTERVAL.fault(spec.refresh_interval)


def _is_json_object(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
