import pytest
from msgspec.structs import replace

from secrets_manager.controller.metadata import Metadata, desired_metadata, metadata_diff
from secrets_manager.controller.spec import SecretMetadata
from secrets_manager.kube.objects import ObjectMeta
from tests.gen import NOW, secret_definition, spec

COPIED = "secrets-manager.tuenti.io/copied"
COPY = "secrets-manager.tuenti.io/copy"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWN_LABELS = {MANAGED_BY: "secrets-manager", "secrets-manager.tuenti.io/owner": "uid-of-db"}


def on_secret(labels: dict[str, str], annotations: dict[str, str]) -> ObjectMeta:
    return ObjectMeta(labels=labels, annotations=annotations)


def test_secret_says_whose_it_is() -> None:
    assert desired_metadata(secret_definition()) == Metadata(OWN_LABELS, {})


def test_names_without_a_prefix_are_copied_and_recorded() -> None:
    definition = secret_definition(labels={"team": "shop", "tier.of-shop": "1"}, annotations={"note": "kept"})

    assert desired_metadata(definition) == Metadata(
        labels={"team": "shop", "tier.of-shop": "1", **OWN_LABELS},
        annotations={"note": "kept", COPIED: "team,tier.of-shop;note"},
    )


MARKS_OF_TOOLS = [
    "applyset.kubernetes.io/part-of",
    "kapp.k14s.io/app",
    "kapp.k14s.io/association",
    "kapp.k14s.io/identity",
    "argocd.argoproj.io/instance",
    "argocd.argoproj.io/tracking-id",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "meta.helm.sh/release-name",
    "helm.sh/chart",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "config.k8s.io/owning-inventory",
    "config.kubernetes.io/owning-inventory",
    "internal.config.kubernetes.io/package-name",
    "objectset.rio.cattle.io/hash",
    "kluctl.io/discriminator",
    "kubectl.kubernetes.io/last-applied-configuration",
    "a-tool-of-tomorrow.example/inventory",
]


@pytest.mark.parametrize("name", MARKS_OF_TOOLS)
def test_marks_of_tools_have_a_prefix_and_are_not_copied(name: str) -> None:
    assert desired_metadata(secret_definition(labels={name: "x"}, annotations={name: "x"})) == Metadata(OWN_LABELS, {})


@pytest.mark.parametrize(
    ("listed", "copied"),
    [
        ("example.com/team", {"example.com/team"}),
        (" example.com/team , jenkins.io/credentials-type", {"example.com/team", "jenkins.io/credentials-type"}),
        ("example.com/team,example.com/tier", {"example.com/team", "example.com/tier"}),
        ("example.com/*", {"example.com/team", "example.com/tier"}),
        ("example.com/t*", set()),
        ("*", set()),
        ("*/*", set()),
        ("example.com", set()),
        ("true", set()),
        ("", set()),
    ],
)
def test_names_with_a_prefix_are_copied_where_the_definition_lists_them(listed: str, copied: set[str]) -> None:
    names = ("example.com/team", "example.com/tier", "jenkins.io/credentials-type", "sub.example.com/team")
    labels: dict[str, str] = dict.fromkeys(names, "x")
    definition = secret_definition(labels=labels, annotations=labels | {COPY: listed})

    labels, annotations = desired_metadata(definition)

    assert labels == dict.fromkeys(copied, "x") | OWN_LABELS
    assert annotations.keys() - {COPIED} == copied


def test_nothing_is_copied_where_the_definition_says_so() -> None:
    marks = {"team": "shop"}
    unless = secret_definition(
        labels=marks, annotations=marks, wants=replace(spec(), metadata=SecretMetadata(copy=False))
    )

    for definition in (unless, secret_definition(labels=marks, annotations=marks | {COPY: "false"})):
        assert desired_metadata(definition) == Metadata(OWN_LABELS, {})


def test_names_of_the_spec_win_over_copied_ones_and_are_recorded() -> None:
    written = SecretMetadata(labels={"team": "spec"}, annotations={"example.com/note": "spec"})
    definition = secret_definition(labels={"team": "copied"}, wants=replace(spec(), metadata=written))

    assert desired_metadata(definition) == Metadata(
        labels={"team": "spec", **OWN_LABELS},
        annotations={"example.com/note": "spec", COPIED: "team;example.com/note"},
    )


def test_secret_without_an_owner_says_whose_it_is() -> None:
    orphan = secret_definition(wants=replace(spec(), creation_policy="Orphan"))

    assert desired_metadata(orphan) == Metadata(OWN_LABELS, {"secrets-manager.tuenti.io/definition": "db"})


@pytest.mark.parametrize("name", ["owner", "adopt", "force-sync", "copy", "copied", "lastUpdateTime"])
def test_own_words_are_not_copied_even_where_they_are_listed(name: str) -> None:
    own = f"secrets-manager.tuenti.io/{name}"
    annotations = {own: "x"} | {COPY: f"secrets-manager.tuenti.io/*,{MANAGED_BY}"}

    assert desired_metadata(
        secret_definition(labels={own: "x", MANAGED_BY: "Helm"}, annotations=annotations)
    ) == Metadata(OWN_LABELS, {})


@pytest.mark.parametrize("name", ["team", "applyset.kubernetes.io/part-of"])
def test_what_was_copied_is_taken_off_when_it_is_copied_no_more(name: str) -> None:
    """By an annotation that came later, or by an earlier version of this program."""
    desired = desired_metadata(secret_definition(labels={name: "x"}, annotations={COPY: "false"}))

    assert metadata_diff(on_secret({**OWN_LABELS, name: "x"}, {COPIED: f"{name};"}), desired) == (
        {name: None},
        {COPIED: None},
    )


@pytest.mark.parametrize(
    ("current", "desired", "labels", "annotations"),
    [
        pytest.param(on_secret({"a": "1"}, {"b": "2"}), Metadata({"a": "1"}, {"b": "2"}), {}, {}, id="equal"),
        pytest.param(on_secret({}, {}), Metadata({"a": "1"}, {"b": "2"}), {"a": "1"}, {"b": "2"}, id="missing"),
        pytest.param(
            on_secret({"a": "0"}, {"b": "0"}), Metadata({"a": "1"}, {"b": "2"}), {"a": "1"}, {"b": "2"}, id="different"
        ),
        pytest.param(on_secret({"x": "1"}, {"y": "2"}), Metadata({}, {}), {}, {}, id="foreign"),
        pytest.param(
            on_secret({"a": "1", "x": "1"}, {"b": "2", "y": "2", COPIED: "a;b"}),
            Metadata({}, {}),
            {"a": None},
            {"b": None, COPIED: None},
            id="copied once, wanted no more",
        ),
        pytest.param(
            on_secret({"a": "1", "c": "3"}, {COPIED: "a,c;"}),
            Metadata({"c": "3"}, {COPIED: "c;"}),
            {"a": None},
            {COPIED: "c;"},
            id="one of two",
        ),
        pytest.param(
            on_secret({}, {COPIED: "a;b"}), Metadata({}, {}), {}, {COPIED: None}, id="copied once, removed by others"
        ),
        pytest.param(
            on_secret({"b": "1"}, {"a": "2", COPIED: "a;b"}),
            Metadata({}, {}),
            {},
            {COPIED: None},
            id="a label is no annotation",
        ),
        pytest.param(
            on_secret({"a": "1"}, {COPIED: ";;,,  nonsense"}), Metadata({}, {}), {}, {COPIED: None}, id="spoilt record"
        ),
        pytest.param(
            on_secret(OWN_LABELS, {"secrets-manager.tuenti.io/lastUpdateTime": NOW, COPIED: ",".join(OWN_LABELS)}),
            Metadata({}, {}),
            {},
            {COPIED: None},
            id="record that names our own marks",
        ),
        pytest.param(
            on_secret({}, {"secrets-manager.tuenti.io/lastUpdateTime": NOW}),
            Metadata({}, {}),
            {},
            {},
            id="time of the write",
        ),
    ],
)
def test_difference_is_what_a_merge_patch_must_say(
    current: ObjectMeta, desired: Metadata, labels: dict[str, str | None], annotations: dict[str, str | None]
) -> None:
    assert metadata_diff(current, desired) == (labels, annotations)
