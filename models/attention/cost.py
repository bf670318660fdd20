"""What an attention costs, as formulas a reader can check and a program can evaluate.

A formula is text such as "4 B H T S d": a blank multiplies, "²" squares, `ceil`, `min` and `max` are known. The number
shown is computed from the text that is shown, so the two cannot drift apart. What is counted:

- `flops`: two for every multiply-add of a matrix product, of the algorithm as it is written here, padding included.
  Exponentials, sums and comparisons are left out. Tests hold it against torch's own counter.
- `held`: numbers written to memory between reading q, k, v and writing the output: scores, weights, features, states.
- `moved`: traffic to slow memory if every step reads what it needs and writes what it makes once, which is
  q, k, v and the output once, and everything held twice.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from dataclasses import dataclass, field

from torch import Tensor

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow}
_CALLS = {"ceil": math.ceil, "min": min, "max": max}
_PRODUCT = re.compile(r"(?<=[\w)²])\s+(?=[\w(])")


def evaluate(formula: str, symbols: dict[str, float]) -> int:
    """The value of a formula, rounded to a whole number; raises KeyError for a symbol that was not given."""
    text = _PRODUCT.sub(" * ", formula).replace("²", "**2")
    return round(_value(ast.parse(text, mode="eval").body, symbols))


def _value(node: ast.expr, symbols: dict[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return symbols[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, symbols), _value(right, symbols))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _CALLS[name](*(_value(arg, symbols) for arg in args))
    raise ValueError(f"a formula may not contain {ast.unparse(node)}")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of one call: B batch, H heads, T queries, S keys, d width of q and k, dv of v; bytes of a number."""

    B: int = 1
    H: int = 1
    T: int
    S: int
    d: int
    dv: int
    itemsize: int = 4

    @classmethod
    def of(cls, q: Tensor, k: Tensor, v: Tensor) -> Sizes:
        """The sizes of q (B, H, T, d), k (B, H, S, d), v (B, H, S, dv)."""
        B, H, T, d = q.shape
        return cls(B=B, H=H, T=T, S=k.shape[2], d=d, dv=v.shape[3], itemsize=q.element_size())

    @classmethod
    def square(cls, T: int, d: int, H: int = 1) -> Sizes:
        """Self-attention over T tokens in H heads of width d."""
        return cls(H=H, T=T, S=T, d=d, dv=d)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one call costs; see the module for what is counted. `symbols` are the values the formulas stand for."""

    flops: int
    held_bytes: int
    moved_bytes: int
    flops_formula: str
    held_formula: str  # in numbers, not bytes
    symbols: dict[str, float] = field(compare=False)


def cost_of(sizes: Sizes, *, flops: str, held: str, **more: float) -> Cost:
    """Evaluate the two formulas with the sizes and the further symbols in `more`."""
    s = sizes
    symbols = {"B": s.B, "H": s.H, "T": s.T, "S": s.S, "d": s.d, "dv": s.dv, **more}
    numbers = evaluate(held, symbols)
    ends = evaluate("B H (T d + S d + S dv + T dv)", symbols)
    return Cost(
        flops=evaluate(flops, symbols), held_bytes=numbers * s.itemsize, moved_bytes=(ends + 2 * numbers) * s.itemsize,
        flops_formula=flops, held_formula=held, symbols=symbols,
    )  # fmt: skip
