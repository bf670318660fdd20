"""Canned routing for the tests of the routing panel: a model, passes over tokens, sums, reports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.protocol.payloads import Matrix, Result, Tokens
from app.protocol.routing import (
    BalanceNumbers,
    Checks,
    LoadTable,
    PairReport,
    RoutedModel,
    RoutedPass,
    RoutingSummary,
    SpecialistTable,
    SteeredSide,
    SteerReport,
)

L, E, K = 3, 8, 2
LAYERS = (1, 2, 3)
MODEL = RoutedModel(
    model="builtin-moe", title="Mixture of experts", number_format="fp32", layers=LAYERS, n_experts=E, top_k=K, n_shared=1, gate="sigmoid",
    has_bias=True, groups=(4, 2), capacity_factor=None, context=64,
)  # fmt: skip
CHECKS = Checks(passes=7, read=4.0, kept=2.0, touched=(6.0,) * L, alone=(2.0,) * L)
SOFTMAX = replace(MODEL, gate="softmax", has_bias=False, groups=None, n_shared=0, capacity_factor=1.25)


def routed(texts: list[str], start: int = 0, phase: str = "prompt", seed: int = 0, bias: bool = True) -> RoutedPass:
    """A pass whose experts are the best of random affinities (and biases)."""
    rng, T = np.random.default_rng((seed, start)), len(texts)
    affinities = rng.random((L, T, E)).astype(np.float32)
    biases = np.linspace(-0.3, 0.3, E, dtype=np.float32)[None].repeat(L, 0)
    scores = affinities + (biases[:, None] if bias else 0)
    experts = np.argsort(-scores, axis=2)[..., :K]
    unbiased = np.argsort(-affinities, axis=2)[..., :K]
    flips = ~(experts[..., :, None] == unbiased[..., None, :]).any(-1)
    ordered = np.sort(scores, axis=2)[..., ::-1]
    weights = np.take_along_axis(affinities, experts, 2)
    nats = [float("nan") if start + t == 0 else 1.5 for t in range(T)]
    return RoutedPass(
        start=start, phase=phase, tokens=Tokens(tuple(texts), tuple(range(start, start + T)), tuple(nats)),
        experts=experts.astype(np.int16), weights=weights / weights.sum(-1, keepdims=True), affinities=affinities,
        bias=biases if bias else None, barred=np.zeros((L, T, E), bool), flips=flips,
        live=np.ones((L, T, K), bool), dropped=np.zeros((L, T, K), bool), margin=ordered[..., K - 1] - ordered[..., K],
        routed_norm=np.full((L, T), 2.0), shared_norm=np.full((L, T), 1.0) if bias else None,
        read=np.full(T, T if phase == "prompt" else 1), touched=np.full((L, T), K),
    )  # fmt: skip


def table(load: np.ndarray, tokens: int) -> LoadTable:
    """Numbers of loads (L, E) by their definitions."""
    rows = []
    for one in load:
        share = one / one.sum()
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(E)
        rows.append(BalanceNumbers(one.max() / one.mean() - 1, one.std() / one.mean(), entropy, float((one == 0).sum())))
    mean = BalanceNumbers(*(float(np.mean([getattr(b, name) for b in rows])) for name in ("max_vio", "cv", "entropy", "dead")))
    return LoadTable(
        tokens=tokens, chance_tokens=tokens, load=tuple(map(tuple, load.tolist())), layers=tuple(rows), mean=mean,
        chance=BalanceNumbers(0.5, 0.3, 0.95, 0.2),
    )  # fmt: skip


def summary(passes: list[RoutedPass]) -> RoutingSummary:
    """Sums of passes."""
    phases = {}
    for phase in ("all", "prompt", "generation"):
        kept = [one for one in passes if phase in ("all", one.phase)]
        if kept:
            experts = np.concatenate([one.experts for one in kept], axis=1)
            phases[phase] = table(np.stack([np.bincount(row.ravel(), minlength=E) for row in experts]), experts.shape[1])
    rng = np.random.default_rng(5)
    together, flow = rng.random((L, E, E)), rng.random((L - 1, E, E))
    return RoutingSummary(
        layers=LAYERS, top_k=K, phases=phases, together=together, together_chance=np.full((L, E), 0.25),
        flow=flow / flow.sum(axis=(1, 2), keepdims=True), flipped=(0.1, 0.2, 0.3), dropped=(0, 0, 0), routed_norm=(2.0,) * L,
        shared_norm=() if passes[0].shared_norm is None else (1.0,) * L, window=(1, 2, 4), touched=np.array([[2, 3, 5]] * L),
        touched_chance=(2.0, 3.5, 5.5), nats=1.5, predicted=9,
    )  # fmt: skip


def steer_report() -> SteerReport:
    """Before and after."""
    load = np.arange(L * E).reshape(L, E) + 1
    before = SteeredSide(
        text="\nas it was", perplexity=20.0, table=table(load, 40), visits=80, dropped=0, next_tokens=((" a", 0.5), (" b", 0.25))
    )
    after = replace(before, text="another", perplexity=25.5, next_tokens=((" c", 0.4),))
    return SteerReport(
        steered=("layer 1: expert 2 off",), layers=LAYERS, before=before, after=after, kept=(0.5, 0.7, 0.9), divergence=0.125, changed=4,
        places=40,
    )  # fmt: skip


def pair_report() -> PairReport:
    """Two texts."""
    shares = tuple(tuple(1 / E for _ in range(E)) for _ in range(L))
    return PairReport(
        layers=LAYERS, tokens=(30, 20), loads=(shares, shares), distance=(0.4, 0.1, 0.3), chance=(0.2, 0.2, 0.2), p=(0.01, 0.9, 0.01),
        perplexity=(20.0, 5.0),
    )  # fmt: skip


def specialists(kind: str) -> SpecialistTable:
    """Labels of which the last has too few documents."""
    labels = ("python", "arithmetic", "captions") if kind == "domain" else (" the", "\n", "1")
    share = np.full((L, 3, E), 0.25, np.float32)
    share[:, 1, 3], share[:, 2, 5] = 0.9, 0.9
    low, high = share - 0.05, share + 0.05
    return SpecialistTable(
        kind=kind, layers=LAYERS, labels=labels, tokens=(400, 300, 50), documents=(20, 30, 2), share=share, low=low, high=high, chance=0.25,
        least=5,
    )  # fmt: skip


def specialisation() -> Result:
    """What the job gives."""
    return Result(files={"domains": specialists("domain"), "tokens": specialists("token")}, facts={})


def training_record(step: int, bias: bool = True) -> tuple[list[dict], dict]:
    """Records "train" and "routing" of a training after a step."""
    rng = np.random.default_rng(step)
    load = rng.random((L, E)) + 0.5
    names = tuple(f"layer {n}" for n in LAYERS)
    train = [{"step": step, "loss": 5.0 - step / 100, "lr": 0.001, "python": 4.0, "mtp": 5.0, "max_vio": 0.8, "dropped": 0.0}]
    routing = {
        "step": step, "layers": list(LAYERS), "max_vio": 0.8 - step / 1000, "chance": 0.07,
        "load": Matrix(load / load.mean(axis=1, keepdims=True), row_labels=names),
        "bias": Matrix(rng.normal(size=(L, E)) * 0.01, row_labels=names) if bias else None,
    }  # fmt: skip
    return train, routing
