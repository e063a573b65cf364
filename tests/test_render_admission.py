"""`render` refuses what kubectl and the API server refuse, and nothing else."""

import io
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import msgspec
import pytest

from fake_kubernetes.documents import Object, mapping
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.spec import InvalidSpec, Spec
from secrets_manager.controller.validation import validate_spec
from secrets_manager.inputs.manifests import load
from tests.definitions import CRD
from tests.real.cluster import ControlPlane, KubectlError


class Case(NamedTuple):
    """A change of a good definition, and whether it is good still."""

    change: Callable[[Object, Object, Object], object]
    """Of the whole, its spec and the entry of its key."""
    good: bool = False
    unknown: tuple[str, ...] = ()


CASES = {
    "as it is": Case(lambda whole, spec, entry: None, good=True),
    "type is null": Case(lambda whole, spec, entry: spec.update(type=None), good=True),
    "version is null": Case(lambda whole, spec, entry: entry.update(version=None), good=True),
    "a key is null": Case(lambda whole, spec, entry: mapping(spec, "keysMap").update(none=None), good=True),
    "labels are null": Case(lambda whole, spec, entry: mapping(whole, "metadata").update(labels=None), good=True),
    "status is null": Case(lambda whole, spec, entry: whole.update(status=None), good=True),
    "a field that is unknown is null": Case(lambda whole, spec, entry: spec.update(nothing=None), good=True),
    "version is a number": Case(lambda whole, spec, entry: entry.update(version=3), good=True),
    "it merges, and names nothing else": Case(
        lambda whole, spec, entry: spec.update(
            creationPolicy="Merge", metadata={"labels": {}, "copy": True}, rolloutRestartTargets=[]
        ),
        good=True,
    ),
    "it merges, and copies nothing": Case(
        lambda whole, spec, entry: spec.update(creationPolicy="Merge", metadata={"copy": False})
    ),
    "name is null": Case(lambda whole, spec, entry: spec.update(name=None)),
    "path is null": Case(lambda whole, spec, entry: entry.update(path=None)),
    "keysMap is null": Case(lambda whole, spec, entry: spec.update(keysMap=None)),
    "type is a number": Case(lambda whole, spec, entry: spec.update(type=5)),
    "version is a fraction": Case(lambda whole, spec, entry: entry.update(version=1.5)),
    "a label is a number": Case(lambda whole, spec, entry: mapping(whole, "metadata").update(labels={"a": 1})),
    "type is beside spec": Case(lambda whole, spec, entry: whole.update(type="Opaque"), unknown=("type",)),
    "encoding is misspelt": Case(
        lambda whole, spec, entry: entry.update(encodng="base64"), unknown=("spec.keysMap.k.encodng",)
    ),
    "refreshInterval is misspelt": Case(
        lambda whole, spec, entry: spec.update(refreshIntervall="1m"), unknown=("spec.refreshIntervall",)
    ),
    "case is wrong": Case(lambda whole, spec, entry: spec.update(Type="Opaque"), unknown=("spec.Type",)),
    "labels are misspelt": Case(
        lambda whole, spec, entry: mapping(whole, "metadata").update(lables={"a": "b"}), unknown=("metadata.lables",)
    ),
    "status has more": Case(lambda whole, spec, entry: whole.update(status={"more": 1}), unknown=("status.more",)),
    "a condition has more": Case(
        lambda whole, spec, entry: whole.update(status={"conditions": [{"type": "A", "status": "True", "more": 1}]}),
        unknown=("status.conditions[0].more",),
    ),
    "two are unknown": Case(
        lambda whole, spec, entry: (spec.update(a=1), whole.update(b=2)), unknown=("spec.a", "b")
    ),
}  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def manifest(case: Case) -> str:
    entry: Object = {"path": "secret/data/db", "key": "k"}
    spec: Object = {"name": "db", "keysMap": {"k": entry}}
    whole: Object = {
        "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
        "kind": "SecretDefinition",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": spec,
    }
    case.change(whole, spec, entry)
    return msgspec.json.encode(whole).decode()


@each_case
def test_render_takes_what_is_good_and_names_each_field_that_is_unknown(case: Case) -> None:
    (found,) = load(["-"], stdin=io.StringIO(manifest(case))).found
    spec = found.definition.spec if isinstance(found.definition, SecretDefinition) else None

    assert (isinstance(spec, Spec) and validate_spec(spec) is spec) is case.good
    if case.unknown:
        fault = f"there is no field {' nor '.join(case.unknown)}: correct its name or place, for kubectl refuses it"
        assert spec == InvalidSpec(fault)


@each_case
def test_kubectl_judges_the_same(case: Case, control_plane: ControlPlane) -> None:
    control_plane.install(CRD)
    with nullcontext() if case.good else pytest.raises(KubectlError) as refused:
        control_plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest(case))

    words = "" if refused is None else str(refused.value)
    assert [name for name in case.unknown if f'unknown field "{name}"' not in words] == []
