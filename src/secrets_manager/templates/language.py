"""Read a template with python-liquid, and translate what it has read to our nodes. What has no node here is refused.

Stricter than Liquid where Liquid is silent: a name that is not assigned, a filter of another name or with other
arguments, a condition that always holds, a second `else`.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec
from liquid import BlockNode, Environment, Mode, Node, TokenStream
from liquid.builtin.content import ContentNode
from liquid.builtin.content import Literal as ContentTag
from liquid.builtin.expressions import FilteredExpression, Path, StringLiteral
from liquid.builtin.expressions.arguments import PositionalArgument
from liquid.builtin.expressions.filtered import Filter as LiquidFilter
from liquid.builtin.expressions.logical import (
    BooleanExpression,
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import IntegerLiteral
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output as OutputTag
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.assign_tag import AssignNode, AssignTag
from liquid.builtin.tags.capture_tag import CaptureNode, CaptureTag
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.parser import get_parser

from secrets_manager.templates import bounds, tokens
from secrets_manager.templates.errors import Refused, TemplateInvalid, located, shown
from secrets_manager.templates.filters import FILTERS
from secrets_manager.templates.nodes import (
    Assign,
    Body,
    Both,
    Branch,
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

MAX_DIGITS = 9
MAX_MESSAGE = 100
"""Characters of what python-liquid says."""
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{bounds.MAX_NAME - 1}}}")
_A_NAME = f"a name is a letter or _, then letters, digits and _, {bounds.MAX_NAME} in all"
_KEY_EXAMPLE = '{{ db.password }} or {{ db["tls.crt"] }}'
_OPERATORS: dict[type[Expression], Operator] = {
    EqExpression: Operator.EQ,
    NeExpression: Operator.NE,
    LtExpression: Operator.LT,
    LeExpression: Operator.LE,
    GtExpression: Operator.GT,
    GeExpression: Operator.GE,
    ContainsExpression: Operator.CONTAINS,
}


class Read(msgspec.Struct, frozen=True):
    """A template as nodes, the sources that they name, and the modules that their filters import."""

    body: Body
    sources: frozenset[str]
    modules: frozenset[str]


def read(text: str) -> Read:
    """Raises: TemplateInvalid."""
    found = list(tokens.tokens(text))
    try:
        nodes = get_parser(_ENVIRONMENT).parse(TokenStream(iter(found)))
    except LiquidError as error:
        raise TemplateInvalid(_message(text, error)) from None
    return _Translation(text).read(nodes)


class _If(IfTag):
    mode = Mode.STRICT  # of Liquid's own tolerance: a second else is not skipped in silence


class _Unless(UnlessTag):
    mode = Mode.STRICT


class _Liquid(Environment):
    """Liquid with our tags alone. Filters are looked up in our own list."""

    block_nesting_limit = bounds.MAX_NESTING

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:  # noqa: ARG002 - the name is part of the interface
        """Register the tags."""
        for tag in (ContentTag, OutputTag, Illegal, _If, _Unless, AssignTag, CaptureTag):
            self.add_tag(tag)


_ENVIRONMENT = _Liquid()


def _message(text: str, error: LiquidError) -> str:
    token = error.token
    at = token.start_index if token is not None and token.start_index >= 0 else len(text)
    why = str(error.message)
    return located(text, at, f"{why if why.isascii() and len(why) < MAX_MESSAGE else 'not Liquid'}: {_hint(why)}")


def _hint(why: str) -> str:
    if "nesting" in why:
        return f"no more than {bounds.MAX_NESTING} blocks in each other"
    if "tag" in why:
        return "each if, unless and capture has its end tag, and nothing follows its else"
    return (
        'a key is written {{ db.password }}, or {{ db["tls.crt"] }}, in brackets, if it begins with a digit or is a '
        'word of the language; a filter {{ db.password | append: "text" }}'
    )


class _Translation:
    def __init__(self, text: str) -> None:
        self._text = text
        self._sources: dict[str, int] = {}
        self._modules: set[str] = set()
        self._used: dict[str, int] = {}
        self._assigned: dict[str, int] = {}
        self._at = 0

    def read(self, nodes: list[Node]) -> Read:
        try:
            body = tuple(self._statements(nodes))
            self._check_names()
        except Refused as why:
            raise TemplateInvalid(located(self._text, self._at, why)) from None
        return Read(body, frozenset(self._sources), frozenset(self._modules))

    def _check_names(self) -> None:
        for name, at in self._used.items():
            self._at = at
            if name not in self._assigned:
                raise Refused(f"{name} has no key: write one, as in {_KEY_EXAMPLE}, or assign {name} before")
        for name, at in self._assigned.items():
            self._at = at
            if name in self._sources:
                raise Refused(f"{name} is assigned here, and elsewhere a source that has keys: assign another name")

    def _statements(self, nodes: Iterable[Node]) -> Iterator[Statement]:
        for node in nodes:
            if isinstance(node, ContentNode):
                yield Text(node.text)
                continue
            self._at = at = node.token.start_index
            match node:
                case OutputNode():
                    yield Output(at, self._filtered(node.expression))
                case AssignNode():
                    yield Assign(at, self._new_name(node.name), self._filtered(node.expression))
                case CaptureNode():
                    yield Capture(at, self._new_name(node.name), self._body(node.block, keep_blank=True))
                case IfNode():
                    yield self._choice(node, self._condition(node.condition))
                case UnlessNode():
                    yield self._choice(node, Negation(self._condition(node.condition)))
                case _:
                    raise Refused("this is no part of a template")

    def _body(self, block: BlockNode | None, *, keep_blank: bool = False) -> Body:
        """Translate a block. Liquid makes no text of white space alone between the tags of a condition."""
        if block is None:
            return ()
        statements = self._statements(block.nodes)
        if block.blank and not keep_blank:
            return tuple(each for each in statements if not isinstance(each, Text))
        return tuple(statements)

    def _choice(self, node: IfNode | UnlessNode, condition: Condition) -> Choice:
        branches = [Branch(self._at, condition, self._body(node.consequence))]
        for other in node.alternatives:
            self._at = at = other.expression.token.start_index
            branches.append(Branch(at, self._condition(other.expression), self._body(other.block)))
        return Choice(tuple(branches), self._body(node.default))

    def _new_name(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise Refused(f"{shown(name)} can't be assigned: {_A_NAME}")
        self._assigned.setdefault(str(name), self._at)
        return str(name)

    def _filtered(self, expression: Expression) -> Filtered:
        if not isinstance(expression, FilteredExpression):
            raise Refused("this is no part of a template")
        calls = tuple(self._call(each) for each in expression.filters or ())
        return Filtered(self._primary(expression.left), calls)

    def _call(self, call: LiquidFilter) -> Call:
        known = FILTERS.get(call.name)
        if known is None:
            raise Refused(f"{shown(call.name)} is no filter: there are {', '.join(sorted(FILTERS))}")
        if not all(isinstance(each, PositionalArgument) for each in call.args):
            raise Refused(f"filter {call.name}: arguments have no names here")
        if not known.least <= len(call.args) <= known.most:
            raise Refused(f"filter {call.name} takes {_count(known.least, known.most)}, not {len(call.args)}")
        if known.module:
            self._modules.add(known.module)
        return Call(call.name, known, tuple(self._primary(each.value) for each in call.args))

    def _condition(self, expression: Expression) -> Condition:
        match expression:
            case BooleanExpression():
                return self._condition(expression.expression)
            case LogicalAndExpression():
                return Both(self._condition(expression.left), self._condition(expression.right))
            case LogicalOrExpression():
                return Either(self._condition(expression.left), self._condition(expression.right))
            case (
                EqExpression()
                | NeExpression()
                | LtExpression()
                | LeExpression()
                | GtExpression()
                | GeExpression()
                | ContainsExpression()
            ):
                operator = _OPERATORS[type(expression)]
                return Comparison(self._primary(expression.left), operator, self._primary(expression.right))
            case _:
                raise Refused('a condition compares, since any value is true in Liquid: write {% if db.tls == "on" %}')

    def _primary(self, expression: Expression) -> Primary:
        match expression:
            case StringLiteral():
                return Literal(str(expression.value))
            case IntegerLiteral() if len(str(expression.value)) <= MAX_DIGITS:
                return Literal(expression.value)
            case Path():
                return self._name(list(expression.path))
            case _:
                raise Refused(
                    "only texts in quotes, whole numbers, keys and assigned names are values here; "
                    'true, false, nil and empty are texts: "true", ""'
                )

    def _name(self, path: list[int | str | Path]) -> Variable | Key:
        match path:
            case [str(name)] if _NAME.fullmatch(name):
                self._used.setdefault(name, self._at)
                return Variable(name)
            case [str(source), str(key)] if _NAME.fullmatch(source):
                self._sources.setdefault(source, self._at)
                return Key(source, key)
            case [str(source), *_] if not _NAME.fullmatch(source):
                raise Refused(f"{shown(source)} is no name of a source: {_A_NAME}")
            case _:
                raise Refused(
                    "a source has keys, and a key has none: a dot in a key is written in brackets, "
                    f"{_KEY_EXAMPLE}; for a field of a JSON value there is json_field"
                )


def _count(least: int, most: int) -> str:
    if most == 0:
        return "no argument"
    numbers = str(most) if least == most else f"{least} or {most}"
    return f"{numbers} argument{'s' if most > 1 else ''}"
