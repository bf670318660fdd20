"""A jinja2 environment for templates from strangers' files: no attributes, few filters, bounded steps, sizes and time.

jinja2's own sandbox keeps a template away from Python's insides, but not from running for hours or filling the memory.
Here the parsed template is rewritten before it is compiled, so that every loop, literal, sum, call and filter reports to
a budget; values are weighed as they are made, before they can be copied into larger ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.ext import Extension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_STEPS = 1_000_000
"""Loop turns, calls, sums and 64 characters of text handled each count as a step."""
MAX_WEIGHT = 100_000
"""Of one value: items, and 64 characters of text each."""
MAX_DEPTH = 40
MAX_NUMBER_BITS = 256
MAX_RANGE = 10_000
MAX_INDENT = 16
MAX_SECONDS = 3.0

METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        "strip lstrip rstrip split rsplit splitlines startswith endswith upper lower title capitalize replace join find rfind "
        "index count isdigit isalpha isspace removeprefix removesuffix partition rpartition".split()
    ),
    dict: frozenset("get items keys values".split()),
    list: frozenset("index count".split()),
    tuple: frozenset("index count".split()),
}
LOOP = frozenset("index index0 revindex revindex0 first last length previtem nextitem depth depth0 cycle changed".split())
PLAIN_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length", "list", "lower",
    "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort",
    "title", "trim", "unique", "upper",
)  # fmt: skip


PLAIN = (str, int, float, list, tuple, dict, type(None), Undefined)
"""What can be printed."""


class Budget:
    """What one rendering may still spend."""

    def __init__(self) -> None:
        self.steps, self.deadline = 0, time.monotonic() + MAX_SECONDS

    def spend(self, steps: int) -> None:
        """Count steps; TemplateRuntimeError beyond the bounds."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise TemplateRuntimeError("it runs without an end in sight")
        if time.monotonic() > self.deadline:
            raise TemplateRuntimeError(f"it takes longer than {MAX_SECONDS:.0f} seconds")

    def weigh(self, value: Any) -> Any:
        """Pass a value that is not too large on."""
        self.spend(_weight(value, 0))
        return value

    def each(self, values: Iterable) -> Iterator:
        """The values of a loop, counted."""
        if isinstance(values, Undefined):
            return
        for value in values:
            self.spend(1)
            yield value

    def text(self, value: Any) -> str:
        """A plain value as text."""
        if not isinstance(value, PLAIN):
            raise TemplateRuntimeError(f"it prints a {type(value).__name__}")
        return str(self.weigh(value))

    def before_text(self, length: int) -> None:
        """Refuse a text before it is made."""
        if length > 64 * MAX_WEIGHT:
            raise TemplateRuntimeError("it makes a text without bounds")


def _weight(value: Any, depth: int) -> int:
    if isinstance(value, str):
        weight = 1 + len(value) // 64
    elif isinstance(value, int):
        weight = 1 if value.bit_length() <= MAX_NUMBER_BITS else MAX_WEIGHT + 1
    elif isinstance(value, (list, tuple, Mapping)):
        if depth > MAX_DEPTH:
            raise TemplateRuntimeError("it nests values too deeply")
        weight = 1
        for item in [*value.keys(), *value.values()] if isinstance(value, Mapping) else value:
            weight += _weight(item, depth + 1)
            if weight > MAX_WEIGHT:
                break
    elif depth and not isinstance(value, PLAIN):
        raise TemplateRuntimeError(f"it puts a {type(value).__name__} into a list")  # whose text could be without bounds
    else:
        weight = 1
    if weight > MAX_WEIGHT:
        raise TemplateRuntimeError("it makes a value without bounds")
    return weight


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """One rendering's environment."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, cache_size=0, finalize=self._finalize(),
            extensions=["jinja2.ext.loopcontrols", Generation],
        )  # fmt: skip
        self.budget = budget = Budget()
        self.globals = {
            "range": _range, "namespace": Namespace, "dict": dict, "raise_exception": _raise, "strftime_now": _now,
        }  # fmt: skip
        self.filters = {name: _weighed(FILTERS[name], budget) for name in PLAIN_FILTERS}
        self.filters |= {
            "_each": budget.each, "_weigh": budget.weigh, "_concat": self._concat, "safe": budget.text, "string": budget.text,
            "tojson": self._tojson, "join": self._join, "replace": self._replace, "indent": self._indent,
        }  # fmt: skip

    @staticmethod
    def _finalize() -> Callable:
        @pass_context  # depends on the run, so that nothing is computed while compiling
        def printed(context: Any, value: Any) -> str:
            return context.environment.budget.text(value)

        return printed

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return Rewrite().visit(super()._parse(source, name, filename))

    # --- what a template may touch ---

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: an entry of a mapping, a harmless method, a variable of a loop or namespace; else refused."""
        if isinstance(obj, Undefined):
            return getattr(obj, attribute)  # raises and names what is undefined
        known = next((names for kind, names in METHODS.items() if isinstance(obj, kind)), frozenset())
        if attribute in known:
            return self._method(obj, attribute)
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if (isinstance(obj, Namespace) and not attribute.startswith("_")) or (isinstance(obj, LoopContext) and attribute in LOOP):
            return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))
        if attribute.startswith("_") or hasattr(obj, attribute):
            raise TemplateRuntimeError(f"it reads the attribute {attribute[:40]!r}")
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, which never reaches attributes."""
        if isinstance(obj, Undefined):
            return obj[argument]  # raises and names what is undefined
        if isinstance(argument, str) and not isinstance(obj, Mapping):
            return self.getattr(obj, argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Macros, the few functions, and methods that `getattr` has given out."""
        __self.budget.spend(1)
        allowed = isinstance(__obj, (Macro, Undefined)) or __obj in (Namespace, dict) or getattr(__obj, "in_sandbox", False)
        if not allowed and not (callable(__obj) and isinstance(getattr(__obj, "__self__", None), LoopContext)):
            raise TemplateRuntimeError(f"it calls a {type(__obj).__name__}")
        return __self.budget.weigh(__context.call(__obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Sums and products, small enough before they are made."""
        if operator == "*":
            sizes = [len(side) if isinstance(side, (str, list, tuple)) else side for side in (left, right)]
            if isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple)):
                self.budget.before_text(sizes[0] * sizes[1])
        elif operator == "**" and abs(right) > MAX_NUMBER_BITS:
            raise TemplateRuntimeError("it makes a number without bounds")
        elif operator == "%" and isinstance(left, str):
            raise TemplateRuntimeError("it formats with %")
        return self.budget.weigh(self.binop_table[operator](left, right))

    def concat(self, texts: Iterable[str]) -> str:
        """Texts of a macro or block put together."""
        texts = list(texts)
        self.budget.before_text(sum(map(len, texts)))
        return "".join(texts)

    # --- methods and filters whose results could be far larger than what they are given ---

    def _method(self, obj: Any, name: str) -> Callable:
        bound = {"replace": self._replace, "join": self._join_method}.get(name) if isinstance(obj, str) else None

        def method(*args: Any, **kwargs: Any) -> Any:
            return bound(obj, *args, **kwargs) if bound else getattr(obj, name)(*args, **kwargs)

        method.in_sandbox = True
        return method

    def _replace(self, text: Any, old: str, new: str, count: int | None = None) -> str:
        text, old, new = map(self.budget.text, (text, old, new))
        found = len(text) + 1 if old == "" else text.count(old)
        self.budget.before_text(len(text) + found * len(new))
        return self.budget.weigh(text.replace(old, new, -1 if count is None else count))

    def _join_method(self, between: str, values: Iterable) -> str:
        return self._join(values, between)

    def _join(self, values: Iterable, between: str = "", attribute: str | None = None) -> str:
        texts, length = [], 0
        for value in self.budget.each(values):
            text = self.budget.text(value if attribute is None else self.getitem(value, attribute))
            length += len(text) + len(between)
            self.budget.before_text(length)
            texts.append(text)
        return self.budget.weigh(str(between).join(texts))

    def _concat(self, values: list) -> str:
        return self._join(values)

    def _indent(self, text: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
        if not isinstance(width, int) or not 0 <= width <= MAX_INDENT:
            raise TemplateRuntimeError("it indents too far")
        return self.budget.weigh(FILTERS["indent"](self.budget.text(text), width, first, blank))

    def _tojson(self, value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
        """JSON as transformers writes it: without HTML's escapes."""
        if indent is not None and not (isinstance(indent, int) and 0 <= indent <= MAX_INDENT):
            raise TemplateRuntimeError("it indents too far")
        wanted = {name: options[name] for name in ("separators", "sort_keys") if name in options}
        return self.budget.weigh(json.dumps(self.budget.weigh(value), ensure_ascii=ensure_ascii, indent=indent, **wanted))


def _range(*bounds: int) -> list[int]:
    values = range(*bounds)
    if len(values) > MAX_RANGE:
        raise TemplateRuntimeError(f"it counts to {len(values)}")
    return list(values)


def _raise(message: object) -> None:
    raise TemplateRuntimeError(str(message)[:200])


def _now(format: str) -> str:
    return datetime.now().strftime(str(format)[:100])


_range.in_sandbox = _raise.in_sandbox = _now.in_sandbox = True


def _weighed(filter: Callable, budget: Budget) -> Callable:
    """A filter of jinja2's whose result is weighed; `wraps` keeps the marks by which jinja2 passes the environment."""

    @wraps(filter)
    def weighed(*args: Any, **kwargs: Any) -> Any:
        budget.spend(1)
        return budget.weigh(filter(*args, **kwargs))

    return weighed


class Rewrite(NodeTransformer):
    """Puts the budget's filters around whatever can grow or repeat."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        if node.recursive:
            raise TemplateRuntimeError("it uses a recursive loop")
        self.generic_visit(node)
        node.iter = _through(node.iter, "_each")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        return _through(nodes.List(node.nodes, lineno=node.lineno), "_concat")

    def visit_List(self, node: nodes.Expr) -> nodes.Expr:
        self.generic_visit(node)
        return _through(node, "_weigh")

    def visit_Dict(self, node: nodes.Expr) -> nodes.Expr:
        return self.visit_List(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _through(node, "_weigh") if node.ctx == "load" else node


def _through(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Generation(Extension):
    """{% generation %} ... {% endgeneration %}, which marks replies for training; here only its content counts."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


