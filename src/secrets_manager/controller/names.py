"""Valid names, and how names are shown in messages.

From k8s.io/apimachinery validation: IsDNS1123Subdomain, IsConfigMapKey, IsQualifiedName, IsValidLabelValue.
"""

import re

from secrets_manager.controller import rules

MAX_LISTED = 10
"""Names in a message."""
_NAME = re.compile(rules.NAME_PATTERN)
_KEY = re.compile(rules.KEY_PATTERN, re.ASCII)
_PREFIX = re.compile(rules.PREFIX_PATTERN)
_TYPE = re.compile(rules.TYPE_PATTERN)
_SOURCE = re.compile(rules.SOURCE_PATTERN)
_LABEL_NAME = re.compile(rules.LABEL_NAME_PATTERN)
_LABEL_VALUE = re.compile(rules.LABEL_VALUE_PATTERN)


def is_object_name(name: str) -> bool:
    """Whether this is a valid name of a Secret or a workload."""
    return len(name) <= rules.MAX_NAME and _NAME.fullmatch(name) is not None


def is_key(key: str) -> bool:
    """Whether this is a valid key of a Secret."""
    return len(key) <= rules.MAX_NAME and _KEY.fullmatch(key) is not None


def is_prefix(text: str) -> bool:
    """Whether a key of a Secret can contain this."""
    return _PREFIX.fullmatch(text) is not None


def is_secret_type(name: str) -> bool:
    """Whether this is a valid type of a Secret."""
    return len(name) <= rules.MAX_NAME and _TYPE.fullmatch(name) is not None


def is_source_name(name: str) -> bool:
    """Whether this is a valid name in `spec.sources`."""
    fits = len(name) <= rules.MAX_SOURCE_NAME and _SOURCE.fullmatch(name) is not None
    return fits and name not in rules.RESERVED_NAMES


def is_label_name(name: str) -> bool:
    """Whether this is a valid name of a label or annotation, and not one that the controller sets or kubectl."""
    fits = len(name) <= rules.MAX_LABEL_NAME and _LABEL_NAME.fullmatch(name) is not None
    return fits and name != rules.LAST_APPLIED and not is_ours(name)


def is_ours(name: str) -> bool:
    """Whether this program itself uses the label or annotation."""
    return name == rules.MANAGED_BY or name.startswith(rules.OWN_PREFIX)


def is_label_value(value: str) -> bool:
    """Whether this is a valid value of a label."""
    return len(value) <= rules.MAX_LABEL_VALUE and _LABEL_VALUE.fullmatch(value) is not None


def shown(text: str) -> str:
    """Return user input quoted, escaped and truncated."""
    return ascii(text if len(text) <= rules.MAX_SHOWN else f"{text[: rules.MAX_SHOWN]}...")


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    first = ", ".join(shown(name) for name in names[:MAX_LISTED])
    return first if len(names) <= MAX_LISTED else f"{first} and {len(names) - MAX_LISTED} more"
