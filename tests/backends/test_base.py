import pytest

from secrets_manager.backends.base import Source, quoted


@pytest.mark.parametrize(
    ("source", "expected"),
    [(Source("secret/data/app"), "secret/data/app"), (Source("secret/data/app", "3"), "secret/data/app (version 3)")],
)
def test_source_is_shown_as_its_path_and_its_version_if_it_names_one(source: Source, expected: str) -> None:
    assert str(source) == expected


def test_what_a_message_shows_of_a_path_is_bounded() -> None:
    assert quoted("x" * 300) == f"'{'x' * 200}...'"
