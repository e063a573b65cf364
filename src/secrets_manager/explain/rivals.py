"""Several definitions that would create one Secret: the first does, and to the others it is foreign. Pure."""

from collections.abc import Iterable

import msgspec

from secrets_manager.controller.decision import new_secret
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.ownership import not_owned
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.explain.explanation import Action, Change, Explanation, Finding
from secrets_manager.kube.objects import ObjectKey

Explained = tuple[SecretDefinition, Explanation]


def without_rivals(explained: Iterable[Explained]) -> list[Explanation]:
    """Return the explanations, as if the definitions were created in this order."""
    makers: dict[ObjectKey, SecretDefinition] = {}
    result: list[Explanation] = []
    for definition, explanation in explained:
        secret = ObjectKey(explanation.namespace, explanation.secret)
        creates = explanation.action is Action.CREATE
        maker = makers.setdefault(secret, definition) if creates else definition
        result.append(explanation if maker.key == definition.key else _after(maker, explanation))
    return result


def _after(maker: SecretDefinition, explanation: Explanation) -> Explanation:
    """Explain a definition whose Secret another one has created."""
    target = Desired(name=explanation.secret, type="", data={}, digest=b"")
    made = CurrentSecret(
        metadata=new_secret(maker, target, now="", restarts="").metadata, type="", immutable=False, keys=(), digest=b""
    )
    problem = not_owned(made, maker)
    return msgspec.structs.replace(
        explanation,
        action=Action.NONE,
        keys=tuple(msgspec.structs.replace(key, change=Change.UNKNOWN) for key in explanation.keys),
        deletes=(),
        restarts=(),
        problem=Finding(reason=problem.reason.value, message=problem.message),
    )
