"""Formulas in x and y that a person types: exact by sympy, fast by torch, and never handed to `eval`.

The text is parsed by Python's own grammar into a tree, of which only numbers, x, y, pi, e, + - * / ** and the functions of FUNCTIONS are
allowed; everything else is refused by name. Two readings of the same tree give a sympy expression (sympy's own parser and its
`lambdify` would run code) and values of tensors. `^` means power, as on paper. Read next: `derivatives.py`.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import sympy
import torch
from torch import Tensor

LONGEST, DEEPEST = 300, 40  # characters; nested operations
LARGEST_POWER, LARGEST_BITS = 1000, 4000  # of a power of numbers
LARGEST_NUMBER = 10**15
NEAR = 1e-9
"""Of the edge of a function's smooth part (the kink of |x|, the pole of 1/x): this near it, nothing is taken for granted."""
NUMBER = re.compile(r"[+-]?(\d{1,40}/\d{1,40}|(\d{1,40}\.?\d{0,40}|\.\d{1,40})(e[+-]?\d{1,3})?)")
X, Y = sympy.symbols("x y", real=True)


class FormulaError(ValueError):
    """A formula or a point that cannot be used: a sentence that says why, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


FUNCTIONS: dict[str, tuple[Callable, Callable[[Tensor], Tensor]]] = {
    "sin": (sympy.sin, torch.sin), "cos": (sympy.cos, torch.cos), "tan": (sympy.tan, torch.tan),
    "asin": (sympy.asin, torch.asin), "acos": (sympy.acos, torch.acos), "atan": (sympy.atan, torch.atan),
    "sinh": (sympy.sinh, torch.sinh), "cosh": (sympy.cosh, torch.cosh), "tanh": (sympy.tanh, torch.tanh),
    "exp": (sympy.exp, torch.exp), "log": (sympy.log, torch.log), "sqrt": (sympy.sqrt, torch.sqrt), "abs": (sympy.Abs, torch.abs),
}  # fmt: skip
"""Name -> exact, on tensors."""
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
CONSTANTS = {"pi": (sympy.pi, math.pi), "e": (sympy.E, math.e)}
EDGES: dict[str, Callable[[float], bool]] = {
    "tan": lambda v: abs(math.cos(v)) > NEAR, "asin": lambda v: abs(v) < 1 - NEAR, "acos": lambda v: abs(v) < 1 - NEAR,
    "log": lambda v: v > NEAR, "sqrt": lambda v: v > NEAR, "abs": lambda v: abs(v) > NEAR,
}  # fmt: skip
"""Where a function is smooth, of those that are not so everywhere."""
ALLOWED = f"Allowed are x, y, numbers, pi, e, + - * / ^, brackets and {', '.join(FUNCTIONS)}."


@dataclass(frozen=True)
class Formula:
    """A function f(x, y). `holes` gives values at points where the formula itself has none."""

    text: str
    tree: ast.expr = field(repr=False)
    holes: Mapping[tuple[float, float], float] = field(default_factory=dict)

    @property
    def exact(self) -> sympy.Expr:
        """The sympy expression."""
        return _exact(self.tree)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Values, of the common shape of x and y; nan or inf where there is none."""
        x, y = torch.broadcast_tensors(x, y)
        value = _values(self.tree, x, y)
        value = value.expand(x.shape) if isinstance(value, Tensor) else torch.full_like(x, value)
        for (a, b), filled in self.holes.items():
            value = torch.where((x == a) & (y == b), filled, value)
        return value

    def at(self, x: float, y: float) -> float:
        """The value at one point in float64; FormulaError where there is none."""
        value = self(torch.tensor(float(x), dtype=torch.float64), torch.tensor(float(y), dtype=torch.float64)).item()
        if not math.isfinite(value):
            raise FormulaError(f"{self.text} has no finite value at ({x:g}, {y:g}).", "Choose another point.")
        return value

    def smooth_at(self, x: float, y: float) -> bool:
        """Whether f is put together from functions that are smooth where they are used: by the chain rule it then is differentiable."""
        place = [torch.tensor(float(part), dtype=torch.float64) for part in (x, y)]
        return (x, y) not in self.holes and all(_smooth(node, *place) for node in ast.walk(self.tree))

    def bits(self, x: sympy.Rational, y: sympy.Rational) -> int:
        """At most so many bits has a number of the exact value at x, y."""
        return _bits(self.tree, {"x": _size(x), "y": _size(y)})


def parse(text: str, holes: Mapping[tuple[float, float], float] | None = None) -> Formula:
    """The formula of a text; FormulaError with one sentence for what is not allowed."""
    text = text.strip()
    if not text:
        raise FormulaError("The formula is empty.", "Type one, such as x^2 + y^2.")
    if len(text) > LONGEST:
        raise FormulaError(f"The formula has {len(text)} characters.", f"At most {LONGEST} are read.")
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"{text[:60]!r} is not a formula.", "Write products with *, as in 3*x*y. " + ALLOWED) from error
    _check(tree, 0)
    _exact(tree)
    return Formula(text, tree, dict(holes or {}))


def rational(value: str | float | Fraction) -> sympy.Rational:
    """A number as a person writes it, exactly: 0.1 is 1/10."""
    text = str(value).strip()
    try:
        found = Fraction(text) if NUMBER.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        found = None
    if found is None or abs(found) >= LARGEST_NUMBER:
        raise FormulaError(f"{text[:40]!r} is not a number one can compute with.", "Write it as 2, 0.5 or 1/3.")
    return sympy.Rational(found.numerator, found.denominator)


def _check(node: ast.expr, depth: int) -> None:
    if depth > DEEPEST:
        raise FormulaError(f"The formula is nested more than {DEEPEST} deep.", "Write it more simply.")
    match node:
        case ast.Constant(value=value) if type(value) in (int, float) and abs(value) < LARGEST_NUMBER:
            return
        case ast.Constant(value=value):
            raise FormulaError(f"{str(value)[:30]!r} cannot stand in a formula.", ALLOWED)
        case ast.Name(id=name):
            if name not in ("x", "y", *CONSTANTS):
                raise FormulaError(f"The formula does not know {name[:30]!r}.", ALLOWED)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub(), operand=operand):
            _check(operand, depth + 1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=right):
            _check(left, depth + 1)
            _check(right, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _check(argument, depth + 1)
        case ast.Call(func=ast.Name(id=name)):
            known = "takes one argument" if name in FUNCTIONS else "is no function it knows"
            raise FormulaError(f"In the formula, {name[:30]!r} {known}.", ALLOWED)
        case _:
            raise FormulaError(f"{ast.unparse(node)[:40]!r} cannot stand in a formula.", ALLOWED)


def _exact(node: ast.expr) -> sympy.Expr:
    match node:
        case ast.Constant(value=value):
            return rational(value)
        case ast.Name(id=name):
            return {"x": X, "y": Y, **{key: pair[0] for key, pair in CONSTANTS.items()}}[name]
        case ast.UnaryOp(op=op, operand=operand):
            return _exact(operand) if isinstance(op, ast.UAdd) else -_exact(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_exact(left), _exact(right))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _exact(left), _exact(right)
            if isinstance(op, ast.Div) and b == 0:
                raise FormulaError(f"{ast.unparse(node)[:40]} divides by zero everywhere.", "Change the denominator.")
            return OPERATORS[type(op)](a, b)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name][0](_exact(argument))
    raise AssertionError("a tree that was not checked")


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    """A power that stays of a size one can compute."""
    if exponent.is_Rational:
        bits = max(int(abs(base.p)).bit_length(), int(base.q).bit_length()) if base.is_Rational else 1
        if abs(exponent) > LARGEST_POWER or bits * abs(exponent) > LARGEST_BITS:
            raise FormulaError("A power of the formula is too large.", f"Exponents may go to {LARGEST_POWER}, numbers to 1000 digits.")
        if base == 0 and exponent < 0:
            raise FormulaError("The formula divides by zero everywhere.", "Change the denominator.")
    power = base**exponent
    if power.is_Pow and power.exp.is_Rational and abs(power.exp) > LARGEST_POWER:  # (x^1000)^1000
        raise FormulaError("A power of the formula is too large.", f"Exponents may go to {LARGEST_POWER}.")
    return power


def _smooth(node: ast.AST, x: Tensor, y: Tensor) -> bool:
    """Whether the last operation of a tree is smooth at x, y; of the leaves and signs it always is."""
    match node:
        case ast.BinOp(op=ast.Div(), right=right):
            return abs(float(_values(right, x, y))) > NEAR
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, exponent = float(_values(left, x, y)), _values(right, x, y)
            if isinstance(exponent, float) and exponent.is_integer():
                return exponent >= 0 or abs(base) > NEAR
            return base > NEAR
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in EDGES:
            return EDGES[name](float(_values(argument, x, y)))
    return True


def _size(number: sympy.Rational) -> int:
    return max(abs(int(number.p)).bit_length(), int(number.q).bit_length())


def _bits(node: ast.expr, sizes: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=value):
            return _size(rational(value))
        case ast.Name(id=name):
            return sizes.get(name, 1)
        case ast.UnaryOp(operand=operand):
            return _bits(operand, sizes)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            exponent = _exact(right)
            return _bits(left, sizes) * (math.ceil(abs(exponent)) if exponent.is_Rational else 1)
        case ast.BinOp(left=left, right=right):
            return _bits(left, sizes) + _bits(right, sizes) + 1
        case ast.Call(args=[argument]):
            return _bits(argument, sizes)
    raise AssertionError("a tree that was not checked")


def _values(node: ast.expr, x: Tensor, y: Tensor) -> Tensor | float:
    match node:
        case ast.Constant(value=value):
            return float(value)
        case ast.Name(id=name):
            return {"x": x, "y": y, **{key: pair[1] for key, pair in CONSTANTS.items()}}[name]
        case ast.UnaryOp(op=op, operand=operand):
            value = _values(operand, x, y)
            return value if isinstance(op, ast.UAdd) else -value
        case ast.BinOp(left=left, op=op, right=right):
            a, b = (torch.as_tensor(_values(side, x, y), dtype=x.dtype) for side in (left, right))
            return torch.pow(a, b) if isinstance(op, ast.Pow) else OPERATORS[type(op)](a, b)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name][1](torch.as_tensor(_values(argument, x, y), dtype=x.dtype))
    raise AssertionError("a tree that was not checked")


GALLERY: dict[str, str] = {
    "bowl": "x^2 + y^2",
    "product": "x*y",
    "saddle": "x^2 - y^2",
    "waves": "sin(x)*cos(y)",
    "Rosenbrock": "(1 - x)^2 + 100*(y - x^2)^2",
    "hill": "exp(-x^2 - y^2)",
    "roof": "abs(x) + abs(y)",
    "cone": "sqrt(x^2 + y^2)",
    "ridge": "x^2*y/(x^4 + y^2)",
}
"""Functions that show a point each; the last three have no gradient at the origin."""
HOLES: dict[str, dict[tuple[float, float], float]] = {"ridge": {(0.0, 0.0): 0.0}}


def gallery(name: str) -> Formula:
    """A formula of the gallery, its hole filled."""
    return parse(GALLERY[name], HOLES.get(name))
