"""What the README says, for tests that hold it to its word."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def section(title: str) -> str:
    """What stands below a title, with the sections in it."""
    heading = re.search(rf"^(##+) {re.escape(title)}\n", README, re.MULTILINE)
    assert heading, f"README.md has no section {title}"
    return re.split(rf"^#{{2,{len(heading[1])}}} ", README[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(title: str, language: str = r"\w*") -> list[str]:
    """The blocks of code below a title."""
    return re.findall(rf"^```{language}\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)
