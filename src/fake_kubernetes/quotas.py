"""ResourceQuotas, as admission enforces them on new objects: the number of objects of a resource in a namespace.

`count/RESOURCE` counts any resource, and `secrets` is another name for `count/secrets`. The double knows no other, and
no number but in digits: the real server also takes cpu, pods, 1k and more. These are refused, not ignored in silence.
"""

import json
import re
from collections.abc import Iterator

from fake_kubernetes.documents import Object, mapping, text
from fake_kubernetes.kinds import QUOTA, SECRET, Kind
from fake_kubernetes.refusals import Cause, Refusal, about, wrong
from fake_kubernetes.storage import Storage

_COUNTED = re.compile(rf"count/.+|{SECRET.resource}")


def causes(quota: Object) -> Iterator[Cause]:
    """Check that the double enforces all of it."""
    for name in mapping(quota, "spec", "hard"):
        limit = text(quota, "spec", "hard", name)
        if not _COUNTED.fullmatch(name):
            yield wrong(f"spec.hard[{name}]", json.dumps(name), "the double counts count/RESOURCE and secrets alone")
        if not re.fullmatch("[0-9]+", limit):
            yield wrong(f"spec.hard[{name}]", json.dumps(limit), "the double reads digits alone")


def check(storage: Storage, kind: Kind, namespace: str, name: str) -> None:
    """See whether there is room for one more object. Raises: Refusal."""
    counted = {f"count/{kind.resource}", *([SECRET.resource] if kind == SECRET else [])}
    for key, quota in sorted(storage.objects(QUOTA.resource).items()):
        named = sorted(counted & mapping(quota, "spec", "hard").keys())
        if key.namespace != namespace or not named:
            continue
        used = sum(each.namespace == namespace for each in storage.objects(kind.resource))
        limits = {each: text(quota, "spec", "hard", each) for each in named}
        exceeded = [each for each in named if used + 1 > int(limits[each])]
        if exceeded:
            requested, present = (",".join(f"{each}={number}" for each in exceeded) for number in (1, used))
            limited = ",".join(f"{each}={limits[each]}" for each in exceeded)
            amounts = f"requested: {requested}, used: {present}, limited: {limited}"
            why = f'{kind.resource} "{name}" is forbidden: exceeded quota: {key.name}, {amounts}'
            raise Refusal(403, "Forbidden", why, details=about(kind, name))
