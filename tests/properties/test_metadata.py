from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.controller.metadata import desired_metadata, metadata_diff
from secrets_manager.kube.objects import ObjectMeta
from tests.gen import secret_definition
from tests.properties.marks import marks

Changes = Mapping[str, str | None]


def patched(current: Mapping[str, str], changes: Changes) -> dict[str, str]:
    """What a merge patch makes of a map of texts."""
    kept = {name: text for name, text in current.items() if name not in changes}
    return kept | {name: text for name, text in changes.items() if text is not None}


def applied(current: ObjectMeta, changes: tuple[Changes, Changes]) -> ObjectMeta:
    labels, annotations = changes
    return ObjectMeta(labels=patched(current.labels, labels), annotations=patched(current.annotations, annotations))


def on_secret(labels: dict[str, str], annotations: dict[str, str]) -> ObjectMeta:
    """The Secret on which these marks stood before a definition's came over them."""
    return ObjectMeta(labels=labels, annotations=annotations)


@given(foreign=marks, wanted=st.lists(st.tuples(marks, marks), min_size=1, max_size=3))
def test_once_applied_no_difference_is_left(
    foreign: dict[str, str], wanted: list[tuple[dict[str, str], dict[str, str]]]
) -> None:
    current = on_secret(foreign, foreign)

    for labels, annotations in wanted:
        desired = desired_metadata(secret_definition(labels=labels, annotations=annotations))
        current = applied(current, metadata_diff(current, desired))

        assert metadata_diff(current, desired) == ({}, {})
        assert current.labels.items() >= desired.labels.items()
        assert current.annotations.items() >= desired.annotations.items()


@given(foreign=marks, labels=marks, annotations=marks, new_labels=marks, new_annotations=marks)
def test_what_was_never_copied_is_never_touched(
    foreign: dict[str, str],
    labels: dict[str, str],
    annotations: dict[str, str],
    new_labels: dict[str, str],
    new_annotations: dict[str, str],
) -> None:
    old = desired_metadata(secret_definition(labels=labels, annotations=annotations))
    new = desired_metadata(secret_definition(labels=new_labels, annotations=new_annotations))
    current = on_secret(foreign | old.labels, foreign | old.annotations)
    ours_by_label, ours_by_annotation = (
        old.labels.keys() | new.labels.keys(),
        old.annotations.keys() | new.annotations.keys(),
    )

    after = applied(current, metadata_diff(current, new))

    assert after.labels.items() >= {(name, text) for name, text in foreign.items() if name not in ours_by_label}
    assert after.annotations.items() >= {
        (name, text) for name, text in foreign.items() if name not in ours_by_annotation
    }


@given(foreign=marks, labels=marks, annotations=marks)
def test_what_was_copied_goes_once_it_is_not_copied_any_more(
    foreign: dict[str, str], labels: dict[str, str], annotations: dict[str, str]
) -> None:
    bare = desired_metadata(secret_definition())
    copied = desired_metadata(secret_definition(labels=labels, annotations=annotations))
    before = on_secret(
        {name: text for name, text in foreign.items() if name not in copied.labels},
        {name: text for name, text in foreign.items() if name not in copied.annotations},
    )

    during = applied(before, metadata_diff(before, copied))
    after = applied(during, metadata_diff(during, bare))

    assert after == ObjectMeta(labels=before.labels | bare.labels, annotations=before.annotations)
