"""Equations of the mechanisms with their current numbers, figures in words, and what there is to see."""

from __future__ import annotations

from app.panels.attention_lab.page import Told
from app.protocol.attention_lab import LabHead, MechanismKind, MechanismView, Value
from app.protocol.sizes import size_words
from app.widgets.fact_rows import Row
from app.widgets.map_cards import Card

EXACT = {
    "exact": "the same numbers as softmax", "subset": "softmax over fewer keys", "approximation": "an estimate of softmax",
    "other law": "weighs keys by another law",
}  # fmt: skip
CAUSAL = {
    "yes": "causal", "values": "no future value enters, but which keys are seen depends on later tokens",
    "adapted": "a causal form made here; the paper has none", "no": "cannot be causal",
}  # fmt: skip
LOOK = {
    "exact": "The map is softmax's own; only memory and time differ. Compare the peak memory under the cards: whoever writes the matrix "
    "pays for it.",
    "subset": "Dark cells are keys that are never looked at. If the head's weight lies inside the pattern the error is small: this head "
    "can do without the rest.",
    "approximation": "Every key may get some weight, but fine and sharp structure is blurred. Make it larger with the slider and watch "
    "the error fall.",
    "other law": "It was never meant to agree with softmax on a head trained with softmax. The error after the best common factor says "
    "how much of the difference is mere size.",
}


INTRO = (
    "Each card is the same head under another attention. Look first where softmax's map is bright, then which patterns keep those cells: "
    "there the error is small."
)


def equation(name: str, s: dict[str, Value], d: int) -> str:
    """How weights or outputs come about, with the knobs as they stand."""
    score = f"q·k / √{d}"
    formulas = {
        "softmax": lambda: f"A = softmax({score}),  out = A V",
        "fused": lambda: f"A = softmax({score}),  out = A V, in one kernel",
        "flash": lambda: f"m' = max(m, max S),  P = exp(S − m'),\nO = exp(m − m') O + P V,\ntiles of {s['tile_q']} × {s['tile_k']}",
        "window": lambda: f"softmax({score}) over the last {s['width']} tokens"
        + (f" and the first {s['sinks']}" if s["sinks"] else ""),
        "strided": lambda: f"j > i − {s['stride']}  or  (i − j) mod {s['stride']} = 0   ({s['part']})",
        "fixed": lambda: f"⌊j/{s['stride']}⌋ = ⌊i/{s['stride']}⌋  or\nj mod {s['stride']} ≥ {max(0, s['stride'] - s['summary'])}"
        + f"   ({s['part']})",
        "block_sparse": lambda: f"blocks of {s['block']}: {s['near']} near on each side, {s['everywhere']} first, {s['random']} at random",
        "top_k": lambda: f"softmax({score}) over the {s['keep']} largest scores",
        "lsh": lambda: f"bucket = argmax [xR; −xR], {s['buckets']} buckets, {s['rounds']} rounds joined by exp(lse)",
        "low_rank": lambda: f"softmax(q (E K)ᵀ / √{d}) (F V),  E, F with {s['rank']} rows"
        + f" for each finished chunk of {s['chunk']}",
        "performer": lambda: f"φ(x) = exp(w·x − |x|²/2) / √{s['features']},\nx = q / {d}^¼,  A ≈ φ(q)·φ(k),\n{s['features']} directions w"
        if s["kind"] == "positive"
        else f"φ(x) = exp(|x|²/2) [cos w·x, sin w·x] / √{s['features']},\nx = q / {d}^¼,  A ≈ φ(q)·φ(k)",
        "linear": lambda: f"out = φ(q)ᵀ S / φ(q)ᵀ z,  S = Σ φ(k) vᵀ,  φ = {s['feature']}",
        "efficient": lambda: "out = softmax(Q) (softmax(K)ᵀ V): features of q, positions of k",
        "gau": lambda: f"A = relu(q·k)² scaled ({s['scaling']}),  gate {s['gate']}",
        "gau_chunked": lambda: f"relu(q·k)² inside chunks of {s['chunk']}, linear attention to what lies before",
    }  # fmt: skip
    return formulas[name]() if name in formulas else ""


def told_of_view(view: MechanismView | None, kind: MechanismKind | None, head: LabHead | None) -> Told:
    """A mechanism on a head, or what there is to see while there is none."""
    if view is None or kind is None or head is None:
        return Told(name="One q, k, v, many attentions", explanation=INTRO)
    return Told(
        name=view.title, rows=tuple(view_rows(view, kind)), equation=equation(view.name, dict(view.settings), head.width),
        explanation=f"{LOOK[kind.exact]}\n\n{head.sentence}", reference=f"arXiv {kind.arxiv}",
    )  # fmt: skip


def view_rows(view: MechanismView, kind: MechanismKind) -> list[Row]:
    """Numbers with what they mean."""
    symbols = ", ".join(f"{name} = {value:g}" for name, value in view.symbols)
    return [
        ("Kind", f"{EXACT[kind.exact]}; {CAUSAL[kind.causal]}"),
        ("Rows", view.normalisation),
        ("Cosine", f"{view.cosine:.4f}", "mean over tokens, of its output and softmax's"),
        ("Relative L2", error_words(view.relative_l2), "|out − softmax| / |softmax| over all numbers"),
        ("Best factor", angle_words(view.best_relative_l2), "the same after multiplying with the best common factor"),
        ("FLOPs", f"{amount(view.flops)}, by formula", f"{view.flops_formula}   with {symbols}"),
        ("Written", f"{size_words(view.held_bytes)}, by formula", f"numbers between q, k, v and the output: {view.held_formula}"),
        ("Moved", f"{size_words(view.moved_bytes)}, by formula", "q, k, v and output once, what is written twice"),
        ("Peak memory", f"{size_words(view.peak_bytes)}, measured", "most held at once besides q, k, v"),
        ("Time", f"{milliseconds(view.seconds)}, measured", "shortest of a few calls, without the map, on this machine"),
    ]


def card(kind: MechanismKind, view: MechanismView | None, colour: int, causal: bool) -> Card:
    """A mechanism as a small picture with numbers; without a view, its place."""
    return Card(
        key=kind.name, title=kind.title, values=view.map if view else None, lines=card_lines(view) if view else (("", ""),) * 5,
        colour=colour, above=causal, tip=f"{kind.about} {CAUSAL[kind.causal]}.",
    )  # fmt: skip


def card_lines(view: MechanismView) -> tuple[tuple[str, str], ...]:
    """The numbers under a map."""
    return (
        ("cosine, rel. L2", f"{view.cosine:.3f}, {error_words(view.relative_l2)}"),
        ("L2, best factor", angle_words(view.best_relative_l2)),
        ("FLOPs, by formula", amount(view.flops)),
        ("peak, measured", size_words(view.peak_bytes)),
        ("time, measured", milliseconds(view.seconds)),
    )


def amount(number: float) -> str:
    """1234567 -> "1.23 M"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "


def milliseconds(seconds: float) -> str:
    """A time, three figures."""
    return f"{seconds * 1e3:.3g} ms"


def error_words(value: float) -> str:
    """A relative error."""
    return "0" if value == 0 else f"{value:.0e}" if value < 1e-3 else f"{value:.3f}" if value < 100 else f"{value:.2g}"


def angle_words(value: float) -> str:
    """sqrt(1 - cos²) from numbers of single precision: below a thousandth it is rounding."""
    return "< 0.001" if value < 1e-3 else error_words(value)
