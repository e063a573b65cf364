"""SecretDefinitions as an API server has them: their CRD, and what their conditions say."""

import msgspec

from fake_kubernetes.documents import Json, Object, items, parse, text
from secrets_manager.controller import crd

CRD: Object = parse(msgspec.json.encode(crd.definition()))


def condition_of(definition: Json, kind: str = "Ready") -> Json:
    """The condition of this type; None while there is none."""
    return next((each for each in items(definition, "status", "conditions") if text(each, "type") == kind), None)
