"""Why there is no text. A message may quote the template, shortened, and never a value."""

from secrets_manager.errors import SecretsManagerError

MAX_SHOWN = 40
"""Characters of the template in a message."""


class TemplateInvalid(SecretsManagerError):
    """The template can't be used, whatever the values are. The message has the line, and how to mend it."""


class RenderFailed(SecretsManagerError):
    """These values make no text. The message has the line, and no value."""


class Refused(SecretsManagerError):
    """Why, without where: the statement around adds its line."""


def shown(text: str) -> str:
    """Return a piece of a template quoted, escaped and shortened."""
    return ascii(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def located(text: str, at: int, why: object) -> str:
    """Return a message for the place `at` of the template `text`."""
    line = text.count("\n", 0, at) + 1
    return f"line {line}: {why}"
