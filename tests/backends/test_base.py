import pytest

from secrets_manager.backends.base import Source


@pytest.mark.parametrize(
    ("source", "expected"),
    [(Source("secret/data/app"), "secret/data/app"), (Source("secret/data/app", "3"), "secret/data/app (version 3)")],
)
def test_source_is_shown_as_its_path_and_its_version_if_it_names_one(source: Source, expected: str) -> None:
    assert str(source) == expected
