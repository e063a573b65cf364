"""Load YAML that users wrote. Whatever is wrong with it is one error: PyYAML's constructors raise many others.

`!!bool foo` is a KeyError of them, `!!int ""` an IndexError, `!!timestamp foo` an AttributeError. A text may be written
with the surrogate pairs of JSON, which PyYAML leaves as two characters that nothing can encode: they become one here,
and half a pair becomes U+FFFD, as where Go reads JSON.
"""

import yaml

from secrets_manager.kube.objects import Content


class NotYaml(ValueError):
    """A text is not YAML. `problem` may quote it; `line` is 0 if it is not known."""

    def __init__(self, problem: str, *, line: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line

    @property
    def where(self) -> str:
        """The line, for after a name; empty if it is not known."""
        return f" in line {self.line}" if self.line else ""


class SeveralDocuments(NotYaml):
    """A text has a second document, which may be empty. `line` is where that begins."""


def load(text: str) -> Content:
    """Return the one document of a text; None without any.

    Raises:
        NotYaml: It can't be read.
        SeveralDocuments: There are several.
    """
    documents = load_all(text)
    if len(documents) > 1:
        starts = [event.start_mark for event in yaml.parse(text, _Loader) if isinstance(event, yaml.DocumentStartEvent)]
        raise SeveralDocuments("there is a second document", line=starts[1].line + 1 if starts[1] else 0)
    return documents[0] if documents else None


def load_all(text: str) -> list[Content]:
    """Return the documents of a text.

    Raises:
        NotYaml: It can't be read.
    """
    try:
        return list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise NotYaml(error.problem or "it can't be read", line=mark.line + 1 if mark else 0) from None
    except Exception:  # noqa: BLE001 - what the constructors of PyYAML raise
        raise NotYaml("it has an invalid character, date or number, or is nested too deep") from None


class _Loader(yaml.SafeLoader):
    """Makes no text that can't be encoded."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = super().construct_scalar(node)
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
