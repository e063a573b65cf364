"""Evaluate the nodes of a template, with values that a function looks up. Each step pays before it works."""

from collections.abc import Callable
from typing import NamedTuple, assert_never

from secrets_manager.templates.bounds import CALL, MAX_PARTS, MAX_TEXT, Budget, check_length, search_cost
from secrets_manager.templates.errors import Refused, RenderFailed, located, shown
from secrets_manager.templates.nodes import (
    Assign,
    Body,
    Both,
    Call,
    Capture,
    Choice,
    Comparison,
    Condition,
    Either,
    Filtered,
    Key,
    Literal,
    Negation,
    Operator,
    Output,
    Primary,
    Statement,
    Text,
    Variable,
)
from secrets_manager.templates.values import Value, characters, text_of

Lookup = Callable[[str, str], str]
"""Returns the value of a key of a source. What it raises passes through a rendering unchanged."""


class Rendered(NamedTuple):
    """The text that a template makes, and what filters have made on the way: parts of values, which may be secret too.

    There are None where they are more than are kept: then any text may be one. Its repr shows neither.
    """

    text: str
    parts: tuple[str, ...] | None = ()

    def __repr__(self) -> str:
        return "Rendered()"


def render(text: str, body: Body, lookup: Lookup) -> Rendered:
    """Return what the body of the template `text` makes. Raises: RenderFailed, and what `lookup` raises."""
    rendering = _Rendering(text, lookup)
    return Rendered(rendering.text(body), rendering.parts)


class _Out:
    """The text so far."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def write(self, part: str) -> None:
        """Raises: Refused."""
        self._length += len(part)
        check_length(self._length)
        self._parts.append(part)

    def __str__(self) -> str:
        return "".join(self._parts)


class _Rendering:
    def __init__(self, template: str, lookup: Lookup) -> None:
        self._template = template
        self._lookup = lookup
        self._budget = Budget()
        self._assigned: dict[str, Value] = {}
        self._parts: dict[str, None] | None = {}

    @property
    def parts(self) -> tuple[str, ...] | None:
        return None if self._parts is None else tuple(self._parts)

    def text(self, body: Body) -> str:
        out = _Out()
        self._run(body, out)
        return str(out)

    def _run(self, body: Body, out: _Out) -> None:
        at = 0
        for statement in body:
            at = at if isinstance(statement, Text | Choice) else statement.at
            try:
                self._step(statement, out)
            except Refused as why:
                raise RenderFailed(located(self._template, at, why)) from None

    def _step(self, statement: Statement, out: _Out) -> None:
        match statement:
            case Text(text):
                self._write(text, out)
            case Output(_, expression):
                self._write(text_of(self._filtered(expression)), out)
            case Assign(_, name, expression):
                self._assigned[name] = self._filtered(expression)
            case Capture(_, name, body):
                self._assigned[name] = self.text(body)
            case Choice():
                self._run(self._chosen(statement), out)
            case _:
                assert_never(statement)

    def _write(self, text: str, out: _Out) -> None:
        self._budget.pay(len(text) if text.isascii() else 4 * len(text))  # up to four bytes, and encoded at last
        out.write(text)

    def _chosen(self, choice: Choice) -> Body:
        for branch in choice.branches:
            try:
                if self._holds(branch.condition):
                    return branch.body
            except Refused as why:
                raise RenderFailed(located(self._template, branch.at, why)) from None
        return choice.otherwise

    def _filtered(self, expression: Filtered) -> Value:
        value, is_literal = self._value(expression.first), isinstance(expression.first, Literal)
        for call in expression.calls:
            is_literal = is_literal and all(isinstance(each, Literal) for each in call.arguments)
            value = self._call(call, value, is_literal=is_literal)
        return value

    def _call(self, call: Call, value: Value, *, is_literal: bool) -> Value:
        """Return what the filter makes; of literals alone it makes no part of a value."""
        values = (value, *map(self._value, call.arguments))
        try:
            self._budget.pay(CALL + call.filter.cost * sum(map(characters, values)))
            result = call.filter.apply(self._budget, values)
            size = characters(result)
            check_length(size)
            self._budget.pay(size)
            if not is_literal and result not in values:
                self._keep(result)
        except Refused as why:
            raise Refused(f"filter {_written(call)}: {why}") from None
        except Exception as error:  # noqa: BLE001 - whatever a value does to a library: the error may quote the value
            raise Refused(f"filter {call.name} can't use the value ({type(error).__name__})") from None
        return result

    def _keep(self, result: Value) -> None:
        if self._parts is None:
            return
        match result:
            case str():
                self._parts[result] = None
            case tuple():
                self._parts |= dict.fromkeys(result)
            case _:  # a number, which is a size or stands in the template
                pass
        if len(self._parts) > MAX_PARTS:
            self._parts = None

    def _value(self, primary: Primary) -> Value:
        match primary:
            case Literal(value):
                return value
            case Variable(name):
                if name not in self._assigned:
                    raise Refused(f"{name} is not assigned on the way to this place: assign it before the condition")
                return self._assigned[name]
            case Key(source, key):
                return self._looked_up(source, key)
            case _:
                assert_never(primary)

    def _looked_up(self, source: str, key: str) -> str:
        value = self._lookup(source, key)
        if len(value) > MAX_TEXT:
            raise Refused(f"a value of source {source} is longer than {MAX_TEXT} characters: a Secret holds no more")
        return value

    def _holds(self, condition: Condition) -> bool:
        match condition:
            case Both(left, right):
                return self._holds(left) and self._holds(right)
            case Either(left, right):
                return self._holds(left) or self._holds(right)
            case Negation(negated):
                return not self._holds(negated)
            case Comparison(left, operator, right):
                return self._compare(self._value(left), operator, self._value(right))
            case _:
                assert_never(condition)

    def _compare(self, left: Value, operator: Operator, right: Value) -> bool:  # noqa: PLR0911 - one line for each
        self._budget.pay(CALL + 2 * (characters(left) + characters(right)))
        match left, operator, right:
            case str(), Operator.CONTAINS, str():
                self._budget.pay(search_cost(left, right))
                return right in left
            case tuple(), Operator.CONTAINS, str():
                return right in left
            case (str(), Operator.EQ, str()) | (int(), Operator.EQ, int()):
                return left == right
            case (str(), Operator.NE, str()) | (int(), Operator.NE, int()):
                return left != right
            case int(), Operator.LT, int():
                return left < right
            case int(), Operator.LE, int():
                return left <= right
            case int(), Operator.GT, int():
                return left > right
            case int(), Operator.GE, int():
                return left >= right
            case _:
                raise Refused(
                    f"{operator.value} can't compare {_kind(left)} with {_kind(right)}: == and != take two texts or "
                    "two numbers, the others two numbers; a value of a source is a text: compare it with one in quotes"
                )


def _kind(value: Value) -> str:
    match value:
        case str():
            return "a text"
        case int():
            return "a number"
        case _:
            return "a list"


def _written(call: Call) -> str:
    """Return a filter as the template has it, with the arguments that are written there: others may be values."""
    literals = (each.value for each in call.arguments if isinstance(each, Literal))
    arguments = ", ".join(shown(each) if isinstance(each, str) else str(each) for each in literals)
    return f"{call.name} {arguments}".rstrip()
