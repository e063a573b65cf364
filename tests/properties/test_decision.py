"""Decide, write, read again, on a model of what the API makes of one Secret."""

from typing import NamedTuple

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from fake_kubernetes.documents import Object, at, parse, with_metadata
from fake_kubernetes.patches import merged
from secrets_manager.controller.decision import Create, Decision, Delete, Patch, decide
from secrets_manager.controller.definition import ADOPT, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.metadata import COPIED, LAST_UPDATE, desired_metadata
from secrets_manager.controller.ownership import Claim, claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rules import MANAGED_BY
from secrets_manager.controller.secret import OWNER, CurrentSecret, Secret, decode
from secrets_manager.kube.objects import ObjectMeta, OwnerReference
from tests.gen import LATER, NAMESPACE, NOW, desired_secret, owner, secret_definition
from tests.properties.marks import marks

OURS = secret_definition("db").owner_reference
PREDECESSOR = msgspec.structs.replace(OURS, uid="its-predecessor")
OTHER_DEFINITION = secret_definition("web").owner_reference
NAMESAKE = owner("db", kind="SecretDefinition", api_version="example.org/v1")
FOREIGN_CONTROLLERS = (
    OTHER_DEFINITION,
    owner("db", kind="Certificate", api_version="cert-manager.io/v1", controller=True),
    msgspec.structs.replace(NAMESAKE, controller=True),
)
BYSTANDERS = (owner("web"), owner("batch", kind="Job"), NAMESAKE)
FOREIGN_OWNERS = (*BYSTANDERS, *FOREIGN_CONTROLLERS)

NO_OWNER = st.none()
OF_OURS = st.sampled_from([OURS, PREDECESSOR])
OF_OTHERS = st.sampled_from(FOREIGN_CONTROLLERS)
ANY_OWNER = NO_OWNER | OF_OURS | OF_OTHERS

TRUE = st.just("true")
ADOPTS = st.sampled_from(["true", "false"])
TYPES = st.sampled_from(["Opaque", "example.org/own"])
DATA = st.dictionaries(st.sampled_from(["pw", "user", "tls.crt"]), st.sampled_from(["", "hunter2", "other"]))


class SecretApi:
    """One place for a Secret, with the rules that the API server has for writes to it."""

    def __init__(self, document: Object | None) -> None:
        self.document = document
        self._version = 1

    @property
    def current(self) -> CurrentSecret | None:
        return None if self.document is None else decode(msgspec.json.encode(self.document))

    @property
    def metadata(self) -> ObjectMeta:
        assert self.current is not None
        return self.current.metadata

    def perform(self, decision: Create | Patch | Delete) -> None:
        self._version += 1
        match decision:
            case Create(secret):
                assert self.document is None
                self._put(with_metadata(parse(msgspec.json.encode(secret)), uid=f"uid-{self._version}"))
            case Patch(_, body):
                assert self.document is not None
                before, patch = self.document, parse(msgspec.json.encode(body))
                assert at(patch, "metadata", "resourceVersion") == at(before, "metadata", "resourceVersion")
                after = merged(before, patch)
                assert isinstance(after, dict)
                assert at(after, "type") == at(before, "type")
                assert not at(before, "immutable") or at(after, "data") == at(before, "data")
                self._put(after)
            case Delete(current):
                assert current == self.current
                self.document = None

    def _put(self, document: Object) -> None:
        self.document = with_metadata(document, resourceVersion=str(self._version))
        assert len([reference for reference in self.metadata.owner_references if reference.controller]) <= 1


class Case(NamedTuple):
    definition: SecretDefinition
    desired: Desired
    document: Object

    @property
    def right(self) -> Claim:
        current = SecretApi(self.document).current
        assert current is not None
        return claim(self.definition, current)


@st.composite
def owner_lists(draw: st.DrawFn, manager: OwnerReference | None) -> tuple[OwnerReference, ...]:
    """Any owners in any order, of which the manager alone manages the Secret."""
    owners = draw(st.lists(st.sampled_from(BYSTANDERS), unique=True, max_size=2))
    if manager:
        owners.append(manager)
    return tuple(draw(st.permutations(owners)))


@st.composite
def documents(draw: st.DrawFn, managers: st.SearchStrategy[OwnerReference | None]) -> Object:
    """Any Secret that may be there, with what an earlier state of the definition may have left on it."""
    once = desired_metadata(secret_definition(labels=draw(marks), annotations=draw(marks)))
    manager = draw(managers)
    ours = manager in (OURS, PREDECESSOR) or draw(st.booleans())
    secret = Secret(
        api_version="v1",
        metadata=ObjectMeta(
            name="db",
            namespace=NAMESPACE,
            uid="uid-1",
            resource_version="1",
            labels=draw(marks) | (once.labels if ours else {}),
            annotations=draw(marks) | (once.annotations | {LAST_UPDATE: NOW} if ours else {}),
            owner_references=draw(owner_lists(manager)),
        ),
        type=draw(TYPES),
        data={key: text.encode() for key, text in draw(DATA).items()},
    )
    return parse(msgspec.json.encode(secret)) | {"immutable": draw(st.booleans())}


@st.composite
def cases(draw: st.DrawFn, managers: st.SearchStrategy[OwnerReference | None], adopts: st.SearchStrategy[str]) -> Case:
    annotations = draw(marks) | {ADOPT: draw(adopts)}
    definition = secret_definition(labels=draw(marks), annotations=annotations)
    desired = desired_secret(draw(DATA.filter(bool)), type_=draw(TYPES))
    return Case(definition, desired, draw(documents(managers)))


def settle(case: Case, api: SecretApi, *, rounds: int) -> list[Decision]:
    """Decide and write until there is nothing to write."""
    decisions: list[Decision] = []
    for _ in range(rounds):
        decision = decide(case.definition, case.desired, api.current, now=LATER)
        decisions.append(decision)
        if decision is None or isinstance(decision, Problem):
            break
        api.perform(decision)
    return decisions


@given(cases(NO_OWNER, TRUE) | cases(OF_OURS, ADOPTS), st.booleans())
def test_three_rounds_bring_what_is_ours_to_what_is_desired(case: Case, is_there: bool) -> None:  # noqa: FBT001 - drawn
    api = SecretApi(case.document if is_there else None)

    decisions = settle(case, api, rounds=3)

    assert decisions[-1] is None
    current = api.current
    assert current is not None
    assert (current.type, current.digest, set(current.keys)) == (
        case.desired.type,
        case.desired.digest,
        set(case.desired.data),
    )
    assert case.definition.owner_reference in current.metadata.owner_references
    assert current.metadata.labels[OWNER] == case.definition.metadata.uid


@given(cases(OF_OTHERS, ADOPTS))
def test_secret_of_another_controller_is_never_written(case: Case) -> None:
    api = SecretApi(case.document)

    (decision,) = settle(case, api, rounds=3)

    assert isinstance(decision, Problem)
    assert api.document == case.document


@given(cases(ANY_OWNER, ADOPTS))
def test_secret_that_is_not_ours_stays_as_it_is(case: Case) -> None:
    assume(case.right is Claim.NONE)
    api = SecretApi(case.document)

    (decision,) = settle(case, api, rounds=3)

    assert isinstance(decision, Problem)
    assert api.document == case.document


@given(cases(ANY_OWNER, ADOPTS))
def test_what_is_foreign_on_a_secret_survives_every_patch(case: Case) -> None:
    api = SecretApi(case.document)
    before = api.metadata
    mine = desired_metadata(case.definition)
    recorded = set(before.annotations.get(COPIED, "").replace(";", ",").split(","))
    own = {OWNER, MANAGED_BY, LAST_UPDATE, COPIED} | recorded

    decisions = settle(case, api, rounds=3)

    assume(not any(isinstance(decision, Delete) for decision in decisions))
    after = api.metadata
    assert after.labels.items() >= {
        (name, text) for name, text in before.labels.items() if name not in own | mine.labels.keys()
    }
    assert after.annotations.items() >= {
        (name, text) for name, text in before.annotations.items() if name not in own | mine.annotations.keys()
    }
    assert [reference for reference in after.owner_references if reference in FOREIGN_OWNERS] == [
        reference for reference in before.owner_references if reference in FOREIGN_OWNERS
    ]
