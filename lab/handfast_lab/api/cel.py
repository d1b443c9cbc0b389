"""The rules of x-kubernetes-validations, by `cel-expr-python`: Google's CEL in C++, with RE2 and the string extension.

One rule: what cannot be compiled is refused with the CRD, and what fails while it runs makes the object invalid.

Of the other libraries, cel-python takes "1d" for a duration and has no string extension, and common-expression-language
counts bytes where `size` counts characters. What this one leaves out, against the real server: the libraries of
Kubernetes (`find`, `isURL`, `quantity`, `ip`, `sets`; a rule with one of them does not compile); types, so that a field
misspelt in a rule is an error of the object and not of the CRD; costs, but for a budget of iterations; that sets are
equal in any order; times, for a field of format date-time is a string here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast

from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings  # type: ignore[import-untyped]

from handfast_lab.api.structural import Reason, Rule, Structural, UnsupportedSchema

STRINGS_VERSION = 2  # the one of Kubernetes 1.29 and later
LONGEST_MESSAGE = 5 * 1024
RESERVED = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)
ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
# What the C++ library says -> what Go's says. Any other sentence is passed on as it is.
SENTENCES = (
    (re.compile(r'Key not found in map : "(.*)"'), r"no such key: \1"),
    (re.compile(r"Index error: index=(-?\d+) size=\d+"), r"index out of bounds: \1"),
    (re.compile(r"No matching overloads found : .*"), "no such overload"),
    (re.compile(r"divide by zero"), "division by zero"),
    (re.compile(r"int64 out of uint64 range"), "unsigned integer overflow"),
    (re.compile(r"Type (conversion error from .*)"), r"type \1"),
    (re.compile(r"cannot convert (\w+) to (\w+)"), r"type conversion error from '\1' to '\2'"),
    (re.compile(r"String to (\w+) conversion failed"), r"type conversion error from 'string' to 'google.protobuf.\1'"),
)
MAP, LIST = "map[string]interface {}", "[]interface {}"
GO_TYPES = {"dict": MAP, "list": LIST, "str": "string", "int": "int64", "float": "float64"}
# By the type in the schema: the Go types that a value may have, and what is said of any other.
AS_SEEN = {
    "object": ({MAP}, "a map for the provided schema with type=object"),
    "array": ({LIST}, "an array for the provided schema with type=array"),
    "string": ({"string"}, "string, got {}"),
    "integer": ({"int64"}, "int, got {}"),
    "number": ({"int64", "float64"}, "float, got {}"),
    "boolean": ({"bool"}, "bool, got {}"),
    "": ({"int64", "string"}, "XIntOrString value to be either a string or integer"),
}
STEP = re.compile(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\['\\])+)'\]")


class Value(Protocol):
    """What an evaluation gives; one of type ERROR holds its sentence."""

    def type(self) -> object: ...
    def plain_value(self) -> object: ...
    def value(self) -> object: ...


class Program(Protocol):
    """A compiled expression."""

    def eval(self, *, data: Mapping[str, object]) -> Value: ...
    def return_type(self) -> object: ...


class RuleFailed(Exception):
    """An expression has no result: the text says why, as Go's library does."""


class BudgetExceeded(Exception):
    """An expression does too much: no further rule of this object is evaluated."""


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that an object breaks; `value`: what stands at `path`."""

    path: str
    value: object
    detail: str
    reason: Reason = "FieldValueInvalid"


@cache
def _environment(variables: Literal["self", "oldSelf", "former"]) -> Any:
    own = {"self": {}, "oldSelf": {"oldSelf": cel.Type.DYN}, "former": {"former": cel.Type.List(cel.Type.DYN)}}
    extensions = [ext_strings.ExtStrings(STRINGS_VERSION), ext_optional.ExtOptional(), ext_bindings.ExtBindings()]
    return cel.NewEnv(variables={"self": cel.Type.DYN, **own[variables]}, extensions=extensions)


@cache
def _compiled(text: str, variables: Literal["self", "oldSelf", "former"]) -> Program:
    try:
        return cast("Program", _environment(variables).compile(text))
    except RuntimeError as error:
        raise UnsupportedSchema(f"rule {text!r} does not compile: {error}") from error


@dataclass(frozen=True, slots=True)
class Expression:
    """A rule or messageExpression that compiles; UnsupportedSchema for any other, or when it gives another type."""

    program: Program
    uses_old_self: bool
    optional: bool

    @classmethod
    def of(cls, text: str, gives: Literal["BOOL", "STRING"], *, optional: bool) -> "Expression":
        """`optional`: oldSelf is an optional value, as `optionalOldSelf` of the rule asks."""
        try:
            program, uses_old_self = _compiled(text, "self"), False
        except UnsupportedSchema:
            program, uses_old_self = _compiled(text, "oldSelf"), True
            if optional:  # no value of Python is an optional one, but an index that may be out of bounds gives one
                program = _compiled(f"cel.bind(oldSelf, former[?0], {text}\n)", "former")
        if program.return_type() not in (cel.Type.DYN, getattr(cel.Type, gives)):
            raise UnsupportedSchema(f"rule {text!r} gives no {gives.lower()}")
        return cls(program, uses_old_self, optional)

    def evaluate(self, own: object, old: object) -> object:
        """RuleFailed when there is no result; `old` is None when there is no earlier value."""
        former = {"former": [] if old is None else [old]} if self.optional else {"oldSelf": old}
        return _result(self.program, {"self": own, **(former if self.uses_old_self else {})})


def _result(program: Program, data: Mapping[str, object]) -> object:
    try:
        value = program.eval(data=data)
    except RuntimeError as error:
        if "budget" in str(error):
            raise BudgetExceeded from error
        raise RuleFailed(str(error)) from error
    if value.type() != cel.Type.ERROR:
        return value.plain_value()
    said = re.sub(r"^[A-Z_]+: ", "", str(value.value()))
    for pattern, sentence in SENTENCES:
        if found := pattern.fullmatch(said):
            raise RuleFailed(found.expand(sentence))
    raise RuleFailed(said)


def matches(text: str, pattern: str) -> bool:
    """RE2, for `pattern` of a schema: Python's `re` has another idea of `$` and of `\\d`. RuleFailed for no pattern."""
    return _result(_compiled("self.matches(oldSelf)", "oldSelf"), {"self": text, "oldSelf": pattern}) is True


def escaped(name: str) -> str | None:
    """A field as rules have to write it; None for one that they cannot name."""
    if not re.fullmatch(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*", name):
        return None
    return f"__{name}__" if name in RESERVED else re.sub(r"__|[./-]", lambda found: ESCAPES[found.group()], name)


def seen(value: object, node: Structural) -> object:
    """A value as the rules of its place see it; RuleFailed for one of another type, which an update may leave there."""
    wanted, words = AS_SEEN[node.type]
    python = type(value).__name__
    if (got := GO_TYPES.get(python, python)) not in wanted:
        raise RuleFailed(f"invalid data, expected {words.format(got)}")
    return _seen(value, node)


def _seen(value: object, node: Structural) -> object:
    """No field that the schema does not name is seen, nor one without a type."""
    match value:
        case dict() if node.values is not None:
            return {name: _seen(each, node.values) for name, each in value.items()}
        case dict():
            named = ((escaped(name), each, node.child(name)) for name, each in value.items())
            return {name: _seen(each, child) for name, each, child in named if name and child and child.types}
        case list() if node.items is not None:
            return [_seen(each, node.items) for each in value]
        case bool():
            return value
        case int() if node.type == "number":
            return float(value)
        case float() if node.type == "integer":
            raise RuleFailed("invalid data, expected int, got float64")
        case _:
            return value


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its programs."""

    rule: Rule
    expression: Expression
    message: Expression | None
    at: str

    @classmethod
    def of(cls, rule: Rule, node: Structural) -> "CompiledRule":
        """UnsupportedSchema when it does not compile, or when its fieldPath leads nowhere."""
        if not rule.text.strip():
            raise UnsupportedSchema("a rule without a text")
        optional = rule.optional_old_self
        words = rule.message_expression
        message = Expression.of(words, "STRING", optional=optional) if words else None
        return cls(rule, Expression.of(rule.text, "BOOL", optional=optional), message, _field_path(rule, node))

    @property
    def name(self) -> str:
        """What an error calls the rule."""
        return self.rule.message or self.rule.text.strip()

    def words(self, own: object, old: object) -> str:
        """messageExpression when it gives one usable line, else the message, else the rule itself."""
        try:
            said = self.message and self.message.evaluate(own, old)
        except RuleFailed:
            said = None
        line = said.strip() if isinstance(said, str) else ""
        if line and "\n" not in line and len(line.encode()) <= LONGEST_MESSAGE:
            return line
        return self.rule.message or f"failed rule: {self.rule.text.strip()}"

    def failed(self, why: str) -> str:
        """What the server says of a rule without a result."""
        if why == "no such overload":
            signature = "call arguments did not match a supported operator, function or macro signature"
            return f"'{why}': {signature} for rule: {self.name}"
        return f"{why} evaluating rule: {self.name}"

    def too_costly(self) -> str:
        """What the server says of the last rule that it evaluates."""
        limit = "'operation cancelled: actual cost limit exceeded'"
        return f"{limit}: no further validation rules will be run due to call cost exceeds limit for rule: {self.name}"


def _field_path(rule: Rule, node: Structural) -> str:
    steps, at, current = "", 0, node
    while at < len(rule.field_path):
        step = STEP.match(rule.field_path, at)
        name = step and (step[1] or re.sub(r"\\(.)", r"\1", step[2]))
        child = name and current.child(name)
        if not step or not name or not child:
            raise UnsupportedSchema(f"fieldPath {rule.field_path!r} leads to no field")
        steps += f".{name}" if name in current.properties else f"[{name}]"
        at, current = step.end(), child
    return steps.removeprefix(".")
