import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fake_kubernetes.documents import Json, Object
from secrets_manager.controller.definition import Condition, SourceStatus, Status, decode
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataSource, InvalidSpec, Spec
from secrets_manager.controller.validation import validate_spec
from secrets_manager.kube.objects import ObjectMeta

METADATA = ObjectMeta(name="db", namespace="shop", uid="u-1", generation=2, labels={"team": "shop"})

anything: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def nearly(fields: dict[str, st.SearchStrategy[Json]]) -> st.SearchStrategy[Json]:
    """An object of some of these fields, each as it should be or as anything else."""
    return st.fixed_dictionaries({}, optional={name: value | anything for name, value in fields.items()})


place = nearly({"path": st.text(), "key": st.text(), "encoding": st.text()})
spec = nearly({"name": st.text(), "type": st.text(), "keysMap": st.dictionaries(st.text(), place, max_size=3)})
condition = nearly({"type": st.text(), "status": st.text(), "observedGeneration": st.integers()})
status = nearly({"conditions": st.lists(condition, max_size=3), "observedGeneration": st.integers()})

specs = st.builds(
    Spec,
    name=st.text(),
    type=st.text(),
    keys_map=st.dictionaries(st.text(), st.builds(DataSource, path=st.text(), key=st.text(), encoding=st.text())),
)
generations = st.integers(0, 2**63 - 1)
statuses = st.builds(
    Status,
    conditions=st.lists(st.builds(Condition, observed_generation=generations), max_size=3).map(tuple),
    observed_generation=generations,
    sources=st.lists(st.builds(SourceStatus, path=st.text(), version=st.none() | generations), max_size=3).map(tuple),
)


@given(anything | spec, anything | status)
def test_any_object_with_metadata_is_a_definition(spec: Json, status: Json) -> None:
    document: Object = {"spec": spec, "status": status}

    definition = decode(msgspec.json.encode(document | {"metadata": msgspec.to_builtins(METADATA)}))

    assert definition.metadata == METADATA
    assert isinstance(definition.spec, Spec | InvalidSpec)


@given(anything | spec)
def test_any_spec_passes_or_is_reported_as_wrong(spec: Json) -> None:
    document: Object = {"metadata": {"name": "db"}, "spec": spec}
    definition = decode(msgspec.json.encode(document))

    outcome = validate_spec(definition.spec)

    assert isinstance(outcome, Problem) or outcome is definition.spec


@given(specs, statuses)
def test_what_is_written_reads_back_equal(spec: Spec, status: Status) -> None:
    definition = decode(msgspec.json.encode({"metadata": METADATA, "spec": spec, "status": status}))

    assert (definition.metadata, definition.spec, definition.status) == (METADATA, spec, status)
