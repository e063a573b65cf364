"""ResourceQuotas, as admission enforces them on new objects: the number of objects of a resource in a namespace."""

from fake_kubernetes.documents import mapping, text
from fake_kubernetes.kinds import QUOTA, Kind
from fake_kubernetes.refusals import Refusal, about
from fake_kubernetes.storage import Storage


def check(storage: Storage, kind: Kind, namespace: str, name: str) -> None:
    """See whether there is room for one more object. Raises: Refusal."""
    counted = f"count/{kind.resource}"
    for key, quota in sorted(storage.objects(QUOTA.resource).items()):
        limit = text(quota, "spec", "hard", counted)
        if key.namespace != namespace or counted not in mapping(quota, "spec", "hard"):
            continue
        used = sum(each.namespace == namespace for each in storage.objects(kind.resource))
        if used + 1 > int(limit):
            amounts = f"requested: {counted}=1, used: {counted}={used}, limited: {counted}={limit}"
            why = f'{kind.resource} "{name}" is forbidden: exceeded quota: {key.name}, {amounts}'
            raise Refusal(403, "Forbidden", why, details=about(kind, name))
