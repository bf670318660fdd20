"""Runner of `evaluate-moe`: what held-out text of every domain costs, how even the experts' load is, who reads what."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from app.jobs.moe import EvaluateMoe
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners.moe import KEY, Run, check_shape, fresh_net, sources, tokenizer_file
from app.worker.context import Ctx
from models.checkpoint import Checkpoint
from models.fitting import CHECKPOINT, averaged_weights
from models.language.gating import Steering
from models.language.mixture_data import (
    TOKENIZER,
    MixtureTokenizer,
    Sources,
    documents,
    held_out_windows,
    mixture_tokenizer,
    packed_bits_per_byte,
)  # fmt: skip
from models.language.mixture_training import DomainScore, score_rows
from models.language.routing import LayerBalance, LoadMeter, mean_balance, specialisation, visits
from models.language.sparse_decoder import SparseDecoder

DOCUMENTS_A_DOMAIN = 10_000_000
"""Above the number of any domain's documents: documents of different domains get different numbers."""


@dataclass
class Reading:
    """One domain: its texts, cut into rows, and what reading them has cost so far."""

    domain: str
    texts: list[str] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)  # number of the document of each row
    nats: float = 0.0
    tokens: int = 0
    bytes: int = 0

    def score(self) -> DomainScore:
        return DomainScore(len(self.texts), self.tokens, self.bytes, self.nats)


@dataclass
class Bench:
    """The model, with all that is counted over the domains."""

    model: SparseDecoder
    tokenizer: MixtureTokenizer
    steer: Steering
    meter: LoadMeter = field(default_factory=LoadMeter)
    chosen: dict[int, list[Tensor]] = field(default_factory=dict)  # layer -> (N, E) of each batch
    domains: list[Tensor] = field(default_factory=list)  # (N,) of each batch, -1 for padding
    owners: list[Tensor] = field(default_factory=list)  # (N,) document


def evaluate_moe(job: EvaluateMoe, ctx: Ctx) -> Run:
    """Read held-out documents of every domain; facts and table tell what they cost and how they were routed."""
    found = sources(job)
    tokenizer = mixture_tokenizer(Path(job.checkpoint) / TOKENIZER if job.checkpoint else tokenizer_file(job.model))
    with from_checkpoint(Path(job.checkpoint), ctx) if job.checkpoint else ctx.zoo.use(job.model) as model:
        if not isinstance(model, SparseDecoder):
            raise UserError(f"{job.model} has no experts.", hint=f"Choose {KEY}.")
        bench = Bench(model, tokenizer, Steering(top_k=job.top_k or None, use_bias=job.use_bias))
        readings = []
        for index, domain in enumerate(found.domains):
            readings.append(gathered(job, domain, found, tokenizer))
            yield from read(bench, readings[-1], index, job.batch_size)
    return report(bench, readings)


@contextmanager
def from_checkpoint(folder: Path, ctx: Ctx) -> Iterator[SparseDecoder]:
    """The averaged weights of a training's checkpoint, as a net of its own."""
    Checkpoint(folder / CHECKPOINT)  # says in a sentence what is wrong with it
    state = averaged_weights(folder)
    with torch.device("meta"):
        model = fresh_net("deepseek" if any(".shared." in name for name in state) else "switch")
    check_shape(model, state, folder)
    model.load_state_dict(state, assign=True)
    yield model.to(ctx.device, ctx.dtype).eval().requires_grad_(False)


def gathered(job: EvaluateMoe, domain: str, found: Sources, tokenizer: MixtureTokenizer) -> Reading:
    """Held-out documents until there are enough tokens, cut into windows."""
    reading, budget = Reading(domain), job.tokens
    for number, text in enumerate(documents(domain, True, found, DOCUMENTS_A_DOMAIN)):
        rows = held_out_windows(text, tokenizer, job.window)[: max(1, budget // job.window)]
        reading.texts.append(text)
        reading.rows += rows
        reading.owners += [number] * len(rows)
        budget -= sum(len(row) - 1 for row in rows)
        if budget <= 0:
            break
    if not reading.rows:
        raise UserError(f"There are no held-out documents of the kind {domain}.", hint="Name more text for it.")
    return reading


def read(bench: Bench, reading: Reading, index: int, batch_size: int) -> Generator[Event, None, None]:
    """Run the model over a domain, batch by batch, windows of like length together."""
    order = sorted(range(len(reading.rows)), key=lambda i: len(reading.rows[i]))
    for first in range(0, len(order), batch_size):
        yield Progress(done=first, total=len(order), unit="windows", note=f"reading {reading.domain}")
        places = order[first : first + batch_size]
        rows = [reading.rows[i] for i in places]
        nats, counted, trace = score_rows(bench.model, rows, bench.steer, bench.tokenizer.end_id)
        reading.nats += float(nats.sum())
        reading.tokens += int(counted.sum())
        reading.bytes += sum(len(bench.tokenizer.token_bytes(i)) for row in rows for i in row[1:])
        bench.meter.add(trace, counted)
        owners = torch.tensor([reading.owners[i] for i in places])[:, None].expand(counted.shape)
        bench.domains.append(torch.where(counted.cpu(), index, -1).flatten())
        bench.owners.append((owners + index * DOCUMENTS_A_DOMAIN).flatten())
        for layer, routing in trace.layers.items():
            bench.chosen.setdefault(layer, []).append(visits(routing).float().cpu())


# --- what is told ---


def report(bench: Bench, readings: list[Reading]) -> Result:
    """Table, facts and files."""
    layers = bench.meter.report()
    packed = {one.domain: packed_bits_per_byte(one.texts) for one in readings}
    over_all, chance = mean_balance([one.over_all for one in layers]), mean_balance([one.chance_over_all for one in layers])
    per_pass, chance_pass = mean_balance([one.per_pass for one in layers]), mean_balance([one.chance_per_pass for one in layers])
    facts = {
        **{one.domain: domain_facts(one.score(), packed[one.domain]) for one in readings},
        "max_vio_global": over_all.max_vio, "max_vio_global_chance": chance.max_vio,
        "max_vio_batch": per_pass.max_vio, "max_vio_batch_chance": chance_pass.max_vio,
        "cv_global": over_all.cv, "entropy_global": over_all.entropy, "dead_experts": over_all.dead,
        "dropped": sum(one.dropped for one in layers),
    }  # fmt: skip
    table = "\n".join([*domain_lines(readings, packed), "", *balance_lines(layers)])
    files = {
        "table.txt": table + "\n", "balance.json": [balance_facts(one) for one in layers],
        "specialisation.json": {f"layer {layer}": specialists(bench, layer, readings) for layer in sorted(bench.chosen)},
    }  # fmt: skip
    return Result(files=files, facts={**facts, "table": table})


def domain_facts(score: DomainScore, packed: float) -> dict:
    return {
        "perplexity": score.perplexity, "bits_per_byte": score.bits_per_byte, "xz_bits_per_byte": packed,
        "documents": score.documents, "tokens": score.tokens, "bytes": score.bytes,
    }  # fmt: skip


def domain_lines(readings: list[Reading], packed: dict[str, float]) -> list[str]:
    lines = [f"{'held-out domain':<16}{'perplexity':>12}{'bits/byte':>11}{'xz bits/byte':>14}{'documents':>11}{'tokens':>9}"]
    for one in readings:
        s = one.score()
        lines.append(
            f"{one.domain:<16}{s.perplexity:>12.3f}{s.bits_per_byte:>11.3f}{packed[one.domain]:>14.3f}{s.documents:>11}{s.tokens:>9}"
        )
    return lines


def balance_lines(layers: list[LayerBalance]) -> list[str]:
    lines = [f"{'layer':<7}{'MaxVio global':>14}{'chance':>9}{'MaxVio batch':>14}{'chance':>9}{'CV':>8}{'entropy':>9}{'dead':>6}"]
    for one in layers:
        a, b = one.over_all, one.per_pass
        lines.append(
            f"{one.layer:<7}{a.max_vio:>14.3f}{one.chance_over_all.max_vio:>9.3f}{b.max_vio:>14.3f}{one.chance_per_pass.max_vio:>9.3f}"
            f"{a.cv:>8.3f}{a.entropy:>9.4f}{a.dead:>6.0f}"
        )
    legend = "global: all domains together; batch: the mean over batches, each of one domain; chance: uniform picks of as many tokens"
    return [*lines, legend]


def balance_facts(one: LayerBalance) -> dict:
    return {
        "layer": one.layer, "tokens": one.tokens, "passes": one.passes, "dropped": one.dropped, "load": one.counts.tolist(),
        "global": vars(one.over_all), "batch": vars(one.per_pass),
        "chance_global": vars(one.chance_over_all), "chance_batch": vars(one.chance_per_pass),
    }  # fmt: skip


def specialists(bench: Bench, layer: int, readings: list[Reading]) -> dict:
    """Share of each domain's tokens that visit each expert, with intervals from the spread between documents."""
    chosen, names = torch.cat(bench.chosen[layer]).double(), tuple(one.domain for one in readings)
    found = specialisation(chosen, torch.cat(bench.domains), names=names, documents=torch.cat(bench.owners))
    columns = {"share": found.share, "low": found.low, "high": found.high}
    rows = {name: values.round(decimals=4).tolist() for name, values in columns.items()}
    return {"domains": list(found.labels), "tokens": found.tokens.tolist(), "chance": found.chance, **rows}
