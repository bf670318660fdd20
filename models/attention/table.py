"""The table of all attentions, for menus, forms, command lines and models that take any of them.

`attend(name, q, k, v, causal=…, knobs={…})` checks the knobs and calls the function of that name; `cost` gives the
formulas' values for sizes that need not exist. Read next: `compare.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.attention import flash, gau, linear, lowrank, lsh, performer, softmax, sparse
from models.attention.cost import Cost, Sizes
from models.attention.signature import Attended, AttentionError

Value = int | float | str | bool


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting of an attention: a number within [lo, hi], one of `choices`, or a switch."""

    name: str
    default: Value
    help: str
    lo: float | None = None
    hi: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Value, title: str) -> None:
        """Raise AttentionError unless the value is of the knob's kind and range."""
        if self.choices:
            if value not in self.choices:
                raise AttentionError(f"{title}: {self.name} is {', '.join(self.choices)}, not {value}.")
        elif isinstance(self.default, bool) != isinstance(value, bool) or isinstance(value, str):
            raise AttentionError(f"{title}: {self.name} cannot be {value!r}.")
        elif self.lo is not None and not self.lo <= value <= self.hi:
            raise AttentionError(f"{title}: {self.name} lies between {self.lo:g} and {self.hi:g}, not at {value:g}.")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One attention with what a window says about it.

    `exact`: "exact" gives softmax's output; "subset" is softmax over fewer keys, exact once it sees all; "approximation"
    comes as near as its size allows; "other law" weighs keys in another way and is not meant to agree.
    `causal`: "yes"; "values" (no future value enters, but which past keys are seen depends on later tokens);
    "adapted" (our causal form of a method that has none); "no".
    """

    title: str
    function: Callable[..., Attended]
    cost: Callable[..., Cost]
    exact: Literal["exact", "subset", "approximation", "other law"]
    causal: Literal["yes", "values", "adapted", "no"]
    arxiv: str
    about: str
    knobs: tuple[Knob, ...] = ()
    scaled: bool = True  # takes `scale`, the factor of the scores
    learned: Callable[[Mapping[str, Value]], dict[str, Tensor]] | None = None  # start values of tensors to be trained with it

    def settings(self, knobs: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """All knobs with their values, defaults where none is given; raises AttentionError for unknown or bad ones."""
        given, known = dict(knobs or {}), {knob.name: knob for knob in self.knobs}
        if unknown := given.keys() - known.keys():
            raise AttentionError(f"{self.title} has no knob {', '.join(sorted(unknown))}.", f"It has {', '.join(known) or 'none'}.")
        for name, value in given.items():
            known[name].check(value, self.title)
        return {name: given.get(name, knob.default) for name, knob in known.items()}


_WIDTH = Knob(name="width", default=64, lo=1, hi=4096, help="Tokens a query sees, itself included.")
_STRIDE = Knob(name="stride", default=32, lo=1, hi=1024, help="Tokens between the keys of the far half; the paper takes about sqrt(T).")
_PART = Knob(name="part", default="merged", choices=sparse.PARTS,
             help="Which half a head sees: both at once, one each for even and odd heads, or one only.")  # fmt: skip
_CHUNK = Knob(name="chunk", default=64, lo=1, hi=2048, help="Tokens in a chunk.")
_SEED = Knob(name="seed", default=0, lo=0, hi=2**31 - 1, help="Of the random choice.")
_FORM = Knob(name="form", default="chunked", choices=linear.FORMS, help="How it is computed; the result is the same.")
_SCALING = Knob(name="scaling", default="common", choices=gau.SCALINGS,
                help="common: relu(qk/sqrt d)² / n; paper: relu(qk / n)².")  # fmt: skip
_GATE = Knob(name="gate", default="open", choices=gau.GATES,
             help="value: SiLU of the token's own value stands in for the gate this model does not have.")  # fmt: skip


def _learned_projections(knobs: Mapping[str, Value]) -> dict[str, Tensor]:
    rank, chunk = min(knobs["rank"], knobs["chunk"]), knobs["chunk"]
    return {name: lowrank.projection_matrix(knobs["projection"], rank, chunk, knobs["seed"] + n).float() for n, name in enumerate("EF")}


ATTENTIONS: dict[str, Kind] = {
    "softmax": Kind(
        title="Softmax", function=softmax.softmax, cost=softmax.softmax_cost, exact="exact", causal="yes", arxiv="1706.03762",
        about="Every query weighs every key; the yardstick of all others.",
    ),
    "fused": Kind(
        title="Softmax, torch's kernel", function=softmax.fused, cost=softmax.fused_cost, exact="exact", causal="yes", arxiv="2205.14135",
        about="The same numbers from one kernel that never writes the matrix of weights.",
    ),
    "flash": Kind(
        title="FlashAttention, tile by tile", function=flash.flash, cost=flash.flash_cost, exact="exact", causal="yes",
        arxiv="2205.14135", about="The same numbers from tiles, with a running maximum and sum; written for reading.",
        knobs=(Knob(name="tile_q", default=64, lo=1, hi=1024, help="Queries in a tile."),
               Knob(name="tile_k", default=64, lo=1, hi=1024, help="Keys in a tile.")),
    ),
    "window": Kind(
        title="Sliding window", function=sparse.window, cost=sparse.window_cost, exact="subset", causal="yes", arxiv="2004.05150",
        about="Only the nearest tokens, and if wanted the first ones, where heads leave what they have no use for.",
        knobs=(_WIDTH, Knob(name="sinks", default=0, lo=0, hi=64, help="First tokens that are always seen.")),
    ),
    "strided": Kind(
        title="Strided (Sparse Transformer)", function=sparse.strided, cost=sparse.strided_cost, exact="subset", causal="yes",
        arxiv="1904.10509", about="The nearest tokens, and every l-th before.", knobs=(_STRIDE, _PART),
    ),
    "fixed": Kind(
        title="Fixed (Sparse Transformer)", function=sparse.fixed, cost=sparse.fixed_cost, exact="subset", causal="yes",
        arxiv="1904.10509", about="The own block, and the last tokens of every block before.",
        knobs=(_STRIDE, Knob(name="summary", default=4, lo=1, hi=256, help="Tokens at the end of a block that sum it up."), _PART),
    ),
    "block_sparse": Kind(
        title="Block sparse (BigBird)", function=sparse.block_sparse, cost=sparse.block_sparse_cost, exact="subset", causal="yes",
        arxiv="2007.14062", about="Neighbouring, global and random blocks.",
        knobs=(Knob(name="block", default=32, lo=1, hi=512, help="Tokens in a block."),
               Knob(name="near", default=1, lo=0, hi=64, help="Neighbouring blocks on each side."),
               Knob(name="everywhere", default=1, lo=0, hi=64, help="First blocks that all see."),
               Knob(name="random", default=1, lo=0, hi=64, help="Further blocks drawn for each row."), _SEED),
    ),
    "top_k": Kind(
        title="Top k", function=softmax.top_k, cost=softmax.top_k_cost, exact="subset", causal="yes", arxiv="1912.11637",
        about="The k largest scores of each query; all scores are computed to know them.",
        knobs=(Knob(name="keep", default=16, lo=1, hi=8192, help="Keys that each query keeps."),),
    ),
    "lsh": Kind(
        title="LSH (Reformer)", function=lsh.lsh, cost=lsh.lsh_cost, exact="subset", causal="values", arxiv="2001.04451",
        about="Keys that fall into the query's bucket of directions.",
        knobs=(Knob(name="buckets", default=8, lo=2, hi=1024, help="Buckets of the hash; even."),
               Knob(name="rounds", default=2, lo=1, hi=16, help="Hashes with other directions, joined."),
               Knob(name="chunk", default=0, lo=0, hi=8192, help="Tokens in a chunk of the sorted text; 0 is the paper's 2n/b."),
               Knob(name="shared", default=False, help="As in Reformer: keys are the queries at unit length, k is ignored."), _SEED),
    ),
    "low_rank": Kind(
        title="Low rank (Linformer)", function=lowrank.low_rank, cost=lowrank.low_rank_cost, exact="approximation", causal="adapted",
        arxiv="2006.04768", about="Keys and values pressed into few; the causal form presses finished chunks only.",
        knobs=(Knob(name="rank", default=32, lo=1, hi=2048, help="Pressed keys, of the text or, if causal, of each chunk."), _CHUNK,
               Knob(name="projection", default="pool", choices=lowrank.PROJECTIONS, help="Means of segments, or random sums."), _SEED),
        learned=_learned_projections,
    ),
    "performer": Kind(
        title="Random features (Performer)", function=performer.performer, cost=performer.performer_cost, exact="approximation",
        causal="yes", arxiv="2009.14794", about="Softmax's kernel estimated from random directions, then linear attention.",
        knobs=(Knob(name="features", default=128, lo=1, hi=4096, help="Random directions."),
               Knob(name="kind", default="positive", choices=performer.KINDS, help="Positive features, or sine and cosine."),
               Knob(name="orthogonal", default=True, help="Directions at right angles to each other, in blocks of d."),
               _SEED, _FORM, _CHUNK),
    ),
    "linear": Kind(
        title="Linear", function=linear.linear, cost=linear.linear_cost, exact="other law", causal="yes", arxiv="2006.16236",
        about="A kernel of features instead of the exponential: a recurrent net with a matrix as its state.", scaled=False,
        knobs=(Knob(name="feature", default="elu1", choices=tuple(linear.FEATURES), help="The map from q and k to features."),
               _FORM, _CHUNK),
    ),
    "efficient": Kind(
        title="Efficient attention", function=linear.efficient, cost=linear.efficient_cost, exact="other law", causal="no",
        arxiv="1812.01243", about="Softmax over the features of queries and over the positions of keys.", scaled=False,
    ),
    "gau": Kind(
        title="Gated (GAU)", function=gau.gau, cost=gau.gau_cost, exact="other law", causal="yes", arxiv="2202.10447",
        about="Squared ReLU scores; a gate decides what of the sum goes on.", knobs=(_SCALING, _GATE), scaled=False,
    ),
    "gau_chunked": Kind(
        title="Gated, mixed chunks (FLASH)", function=gau.gau_chunked, cost=gau.gau_chunked_cost, exact="other law", causal="yes",
        arxiv="2202.10447", about="Squared ReLU inside chunks, linear attention to what lies before.",
        knobs=(_CHUNK, _SCALING, _GATE), scaled=False,
    ),
}  # fmt: skip


def kind(name: str) -> Kind:
    """The entry of a name; raises AttentionError if there is none."""
    if name not in ATTENTIONS:
        raise AttentionError(f"There is no attention {name!r}.", f"There are {', '.join(ATTENTIONS)}.")
    return ATTENTIONS[name]


def attend(
    name: str, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    knobs: Mapping[str, Value] | None = None, tensors: Mapping[str, Tensor] | None = None,
) -> Attended:  # fmt: skip
    """The attention of that name on q (B, H, T, d), k (B, H, S, d), v (B, H, S, dv).

    `scale` is ignored by attentions without scores to scale (`Kind.scaled`). `tensors` are what `Kind.learned` began, trained.
    """
    entry = kind(name)
    settings = {**entry.settings(knobs), **(tensors or {})}
    if entry.scaled:
        settings["scale"] = scale
    return entry.function(q, k, v, causal=causal, want_map=want_map, **settings)


def cost(name: str, sizes: Sizes, *, causal: bool = True, knobs: Mapping[str, Value] | None = None) -> Cost:
    """What the attention of that name costs at these sizes."""
    entry = kind(name)
    return entry.cost(sizes, causal, **entry.settings(knobs))
