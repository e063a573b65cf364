import pytest

from secrets_manager.controller.metadata import Marks, difference, wanted
from secrets_manager.kube.objects import ObjectMeta
from tests.gen import NOW, secret_definition

COPIED = "secrets-manager.tuenti.io/copied"
OWN_LABELS = {"app.kubernetes.io/managed-by": "secrets-manager", "secrets-manager.tuenti.io/owner": "uid-of-db"}


def on_secret(labels: dict[str, str], annotations: dict[str, str]) -> ObjectMeta:
    return ObjectMeta(labels=labels, annotations=annotations)


def test_secret_says_whose_it_is() -> None:
    assert wanted(secret_definition()) == Marks(OWN_LABELS, {})


def test_labels_and_annotations_are_copied_and_recorded() -> None:
    definition = secret_definition(
        labels={"team": "shop", "app.kubernetes.io/name": "db"}, annotations={"reloader.example/match": "true"}
    )

    assert wanted(definition) == Marks(
        labels={"team": "shop", "app.kubernetes.io/name": "db", **OWN_LABELS},
        annotations={
            "reloader.example/match": "true",
            COPIED: "app.kubernetes.io/name,team;reloader.example/match",
        },
    )


@pytest.mark.parametrize(
    "name",
    [
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/instance",
        "secrets-manager.tuenti.io/owner",
        "secrets-manager.tuenti.io/adopt",
        "secrets-manager.tuenti.io/force-sync",
        "secrets-manager.tuenti.io/copied",
        "secrets-manager.tuenti.io/lastUpdateTime",
        "kubectl.kubernetes.io/last-applied-configuration",
        "argocd.argoproj.io/instance",
        "argocd.argoproj.io/tracking-id",
        "helm.sh/chart",
        "meta.helm.sh/release-name",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "config.kubernetes.io/owning-inventory",
        "config.k8s.io/owning-inventory",
    ],
)
def test_marks_by_which_other_tools_prune_and_own_words_are_not_copied(name: str) -> None:
    assert wanted(secret_definition(labels={name: "x"}, annotations={name: "x"})) == Marks(OWN_LABELS, {})


@pytest.mark.parametrize(
    "name", ["notargocd.argoproj.io.example/x", "myhelm.sh/chart", "helm.sh", "fluxcd.io.example/x"]
)
def test_names_that_only_look_like_those_are_copied(name: str) -> None:
    assert wanted(secret_definition(labels={name: "x"})) == Marks({name: "x", **OWN_LABELS}, {COPIED: f"{name};"})


@pytest.mark.parametrize(
    ("current", "wish", "labels", "annotations"),
    [
        pytest.param(on_secret({"a": "1"}, {"b": "2"}), Marks({"a": "1"}, {"b": "2"}), {}, {}, id="equal"),
        pytest.param(on_secret({}, {}), Marks({"a": "1"}, {"b": "2"}), {"a": "1"}, {"b": "2"}, id="missing"),
        pytest.param(
            on_secret({"a": "0"}, {"b": "0"}), Marks({"a": "1"}, {"b": "2"}), {"a": "1"}, {"b": "2"}, id="different"
        ),
        pytest.param(on_secret({"x": "1"}, {"y": "2"}), Marks({}, {}), {}, {}, id="foreign"),
        pytest.param(
            on_secret({"a": "1", "x": "1"}, {"b": "2", "y": "2", COPIED: "a;b"}),
            Marks({}, {}),
            {"a": None},
            {"b": None, COPIED: None},
            id="copied once, wanted no more",
        ),
        pytest.param(
            on_secret({"a": "1", "c": "3"}, {COPIED: "a,c;"}),
            Marks({"c": "3"}, {COPIED: "c;"}),
            {"a": None},
            {COPIED: "c;"},
            id="one of two",
        ),
        pytest.param(
            on_secret({}, {COPIED: "a;b"}), Marks({}, {}), {}, {COPIED: None}, id="copied once, removed by somebody"
        ),
        pytest.param(
            on_secret({"b": "1"}, {"a": "2", COPIED: "a;b"}),
            Marks({}, {}),
            {},
            {COPIED: None},
            id="a label is no annotation",
        ),
        pytest.param(
            on_secret({"a": "1"}, {COPIED: ";;,,  nonsense"}), Marks({}, {}), {}, {COPIED: None}, id="spoilt record"
        ),
        pytest.param(
            on_secret(OWN_LABELS, {"secrets-manager.tuenti.io/lastUpdateTime": NOW, COPIED: ",".join(OWN_LABELS)}),
            Marks({}, {}),
            {},
            {COPIED: None},
            id="record that names our own marks",
        ),
        pytest.param(
            on_secret({}, {"secrets-manager.tuenti.io/lastUpdateTime": NOW}),
            Marks({}, {}),
            {},
            {},
            id="time of the write",
        ),
    ],
)
def test_difference_is_what_a_merge_patch_must_say(
    current: ObjectMeta, wish: Marks, labels: dict[str, str | None], annotations: dict[str, str | None]
) -> None:
    assert difference(current, wish) == (labels, annotations)
