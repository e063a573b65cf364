"""What a template consists of. Nothing else is evaluated; `rendering.py` does that."""

from collections.abc import Callable
from enum import Enum

import msgspec

from secrets_manager.templates.bounds import Budget
from secrets_manager.templates.values import Value


class Literal(msgspec.Struct, frozen=True):
    value: str | int


class Variable(msgspec.Struct, frozen=True):
    """A name that the template itself assigns."""

    name: str


class Key(msgspec.Struct, frozen=True):
    """A key of a source."""

    source: str
    key: str


Primary = Literal | Variable | Key


class Filter(msgspec.Struct, frozen=True):
    """What a filter does. It gets its value and `least` to `most` arguments, and pays `cost` for each character.

    `module` is the module of this package that it imports when it is first applied.
    """

    apply: Callable[[Budget, tuple[Value, ...]], Value]
    least: int = 0
    most: int = 0
    cost: int = 1
    module: str = ""


class Call(msgspec.Struct, frozen=True):
    """A filter with its arguments."""

    name: str
    filter: Filter
    arguments: tuple[Primary, ...]


class Filtered(msgspec.Struct, frozen=True):
    """A value, and the filters that it goes through."""

    first: Primary
    calls: tuple[Call, ...] = ()


class Operator(Enum):
    EQ, NE, LT, LE, GT, GE = "==", "!=", "<", "<=", ">", ">="
    CONTAINS = "contains"


class Comparison(msgspec.Struct, frozen=True):
    left: Primary
    operator: Operator
    right: Primary


class Both(msgspec.Struct, frozen=True):
    left: "Condition"
    right: "Condition"


class Either(msgspec.Struct, frozen=True):
    left: "Condition"
    right: "Condition"


class Negation(msgspec.Struct, frozen=True):
    """What `unless` asks for."""

    condition: "Condition"


Condition = Comparison | Both | Either | Negation


class Text(msgspec.Struct, frozen=True):
    """A part of the template that is taken as it is."""

    text: str


class Output(msgspec.Struct, frozen=True):
    at: int
    expression: Filtered


class Assign(msgspec.Struct, frozen=True):
    at: int
    name: str
    expression: Filtered


class Branch(msgspec.Struct, frozen=True):
    at: int
    condition: Condition
    body: "Body"


class Choice(msgspec.Struct, frozen=True):
    """The first branch whose condition holds, else `otherwise`."""

    branches: tuple[Branch, ...]
    otherwise: "Body"


class Capture(msgspec.Struct, frozen=True):
    """Assign what the body makes."""

    at: int
    name: str
    body: "Body"


Statement = Text | Output | Assign | Choice | Capture
Body = tuple[Statement, ...]
