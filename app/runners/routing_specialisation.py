"""Runner of `routing-specialisation`: on held-out text of every domain, who reads what, with sample sizes and intervals.

Documents, windows and domains are those of `evaluate-moe`; the statistics are `models.language.routing.specialisation`. Intervals
come from the spread between documents, since tokens of one document resemble one another.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.jobs.routing import RoutingSpecialisation
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.protocol.routing import SpecialistTable
from app.runners.moe import sources
from app.runners.moe_evaluation import DOCUMENTS_A_DOMAIN, Reading
from app.runners.routing_source import Opened, opened
from app.worker.context import Ctx
from models.language.gating import AS_IS
from models.language.mixture_data import Sources, documents, held_out_windows
from models.language.mixture_training import score_rows
from models.language.routing import Specialisation, specialisation
from models.language.tokenizer import Tokenizer

Run = Generator[Event, None, Result]
LEAST_DOCUMENTS = 5
"""A label seen in fewer documents says more about those documents than about itself."""
WINDOWS_A_DOCUMENT = 2
"""Many documents tell more than long ones: what tokens of one document do they largely do together."""
TOLD = 3


@dataclass(frozen=True)
class Framed:
    """A tokenizer that knows what stands before a document, as `held_out_windows` asks for."""

    tokenizer: Tokenizer
    end_id: int

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)


@dataclass
class Seen:
    """Every token read: its id, domain, document, and the experts it visited in each layer."""

    tokens: list[Tensor] = field(default_factory=list)
    domains: list[Tensor] = field(default_factory=list)
    documents: list[Tensor] = field(default_factory=list)
    experts: dict[int, list[Tensor]] = field(default_factory=dict)  # layer -> (N, K) int16, -1 where not live

    def add(self, ids: Tensor, domain: int, owners: Tensor, counted: Tensor, trace) -> None:
        """Take in a batch; ids and owners (B, T), counted (B, T) says which are text."""
        self.tokens.append(ids[counted])
        self.domains.append(torch.full((int(counted.sum()),), domain))
        self.documents.append(owners[counted])
        for layer, routing in trace.layers.items():
            chosen = routing.experts.masked_fill(~routing.live, -1)[counted.to(routing.experts.device)]
            self.experts.setdefault(layer, []).append(chosen.to(torch.int16).cpu())

    def visits(self, layer: int, n_experts: int) -> Tensor:
        """(N, E) fp64 of 0 and 1."""
        chosen = torch.cat(self.experts[layer]).long()                      # (N, K)
        table = torch.zeros(len(chosen), n_experts + 1, dtype=torch.float64)
        table.scatter_(1, chosen.where(chosen >= 0, torch.tensor(n_experts)), 1.0)
        return table[:, :n_experts]


def routing_specialisation(job: RoutingSpecialisation, ctx: Ctx) -> Run:
    """Read held-out documents of every domain, and count who goes where."""
    found = sources(job)
    yield Progress(done=0, note="loading the model")
    with opened(job, ctx) as model:
        end = model.begin[0] if model.begin else min(model.stop_ids, default=0)
        framed, seen = Framed(model.tokenizer, end), Seen()
        for index, domain in enumerate(found.domains):
            reading = gathered(job, domain, found, framed)
            yield from read(job, model, reading, index, end, seen)
        tokens = torch.cat(seen.tokens)
        frequent = [int(i) for i in tokens.bincount().argsort(descending=True, stable=True)[: job.vocabulary] if bool((tokens == i).any())]
        names = {"domain": found.domains, "token": tuple(map(model.tokenizer.token_text, frequent))}
        labels = {"domain": torch.cat(seen.domains), "token": relabelled(tokens, frequent)}
        tables = {}
        for kind in labels:
            yield Progress(done=0, note=f"counting by {kind}")
            tables[kind] = table_of(kind, names[kind], labels[kind], seen, model)
    facts = {"table": told(tables["domain"]), "tokens": len(tokens), "documents": int(torch.cat(seen.documents).unique().numel())}
    return Result(files={"domains": tables["domain"], "tokens": tables["token"]}, facts=facts)


def gathered(job: RoutingSpecialisation, domain: str, found: Sources, framed: Framed) -> Reading:
    """The first windows of held-out documents, until there are enough tokens."""
    reading, budget = Reading(domain), job.tokens
    for number, text in enumerate(documents(domain, True, found, DOCUMENTS_A_DOMAIN)):
        rows = held_out_windows(text, framed, job.window)[:WINDOWS_A_DOCUMENT]
        reading.rows += rows
        reading.owners += [number] * len(rows)
        budget -= sum(len(row) - 1 for row in rows)
        if budget <= 0:
            break
    if not reading.rows:
        raise UserError(f"There are no held-out documents of the kind {domain}.", hint="Name more text for it.")
    return reading


def read(
    job: RoutingSpecialisation, model: Opened, reading: Reading, index: int, pad: int, seen: Seen
) -> Generator[Event, None, None]:
    """Run the model over a domain, windows of like length together."""
    order = sorted(range(len(reading.rows)), key=lambda i: len(reading.rows[i]))
    for first in range(0, len(order), job.batch_size):
        yield Progress(done=first, total=len(order), unit="windows", note=f"reading {reading.domain}")
        places = order[first : first + job.batch_size]
        rows = [reading.rows[i] for i in places]
        _, counted, trace = score_rows(model.net, rows, AS_IS, pad)
        counted, T = counted.cpu(), max(map(len, rows)) - 1
        ids = torch.tensor([(row + [pad] * (T + 1 - len(row)))[:-1] for row in rows])  # (B, T)
        owners = torch.tensor([reading.owners[i] for i in places])[:, None].expand(ids.shape) + index * DOCUMENTS_A_DOMAIN
        seen.add(ids, index, owners, counted, trace)


def relabelled(tokens: Tensor, frequent: list[int]) -> Tensor:
    """Place of each token in the list of frequent ones, -1 for all others."""
    labels = torch.full_like(tokens, -1)
    for place, token in enumerate(frequent):
        labels[tokens == token] = place
    return labels


def table_of(kind: str, names: tuple[str, ...], labels: Tensor, seen: Seen, model: Opened) -> SpecialistTable:
    """All layers of one way of labelling."""
    documents = torch.cat(seen.documents)
    found: list[Specialisation] = [
        specialisation(seen.visits(layer, model.n_experts), labels, names=names, documents=documents) for layer in sorted(seen.experts)
    ]
    first = found[0]
    return SpecialistTable(
        kind=kind, layers=tuple(sorted(seen.experts)), labels=first.labels, tokens=tuple(int(n) for n in first.tokens),
        documents=tuple(int(documents[labels == names.index(label)].unique().numel()) for label in first.labels),
        share=torch.stack([one.share for one in found]).numpy(), low=torch.stack([one.low for one in found]).numpy(),
        high=torch.stack([one.high for one in found]).numpy(), chance=model.net.config.top_k / model.n_experts, least=LEAST_DOCUMENTS,
    )  # fmt: skip


def told(table: SpecialistTable) -> str:
    """For each domain and layer the experts it visits most, with intervals; those that chance explains are left out."""
    lines = [f"share of a domain's tokens that visit an expert, 95 % interval; chance {table.chance:.3f}"]
    for label, name in enumerate(table.labels):
        lines.append(f"{name} ({table.tokens[label]} tokens of {table.documents[label]} documents)")
        for row, layer in enumerate(table.layers):
            best = table.share[row, label].argsort()[::-1][:TOLD]
            words = [
                f"{e}: {table.share[row, label, e]:.2f} [{table.low[row, label, e]:.2f}, {table.high[row, label, e]:.2f}]"
                for e in best if table.speaks(row, label, e)
            ]  # fmt: skip
            lines.append(f"  layer {layer:<3} {', '.join(words) or 'nothing beyond chance'}")
    return "\n".join(lines)
