"""Workloads: what is read of a Deployment, StatefulSet or DaemonSet, to restart it."""

import msgspec

from secrets_manager.controller.rules import WORKLOAD_KINDS
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class _TemplateMeta(Wire, frozen=True):
    annotations: dict[str, str] | None = None


class _Template(Wire, frozen=True):
    metadata: _TemplateMeta | None = None


class _Spec(Wire, frozen=True):
    template: _Template = _Template()


class _Wired(Wire, frozen=True):
    metadata: ObjectMeta
    spec: _Spec


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload in the cluster, with the annotations of its pod template."""

    metadata: ObjectMeta
    template_annotations: dict[str, str]


_decoder = msgspec.json.Decoder(_Wired)


def decode(raw: bytes | msgspec.Raw) -> Workload:
    """Decode a workload.

    Raises:
        msgspec.MsgspecError: It is none.
    """
    wired = _decoder.decode(raw)
    template = wired.spec.template.metadata
    return Workload(metadata=wired.metadata, template_annotations=(template and template.annotations) or {})


WORKLOADS = {kind: Resource("apps", "v1", f"{kind.lower()}s", kind, decode) for kind in WORKLOAD_KINDS}
"""The resource of each kind."""
