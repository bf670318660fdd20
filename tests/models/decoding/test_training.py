"""Losses against their definitions, what the unrolled EAGLE sees, and that drafters learn a small target's ways.

The drafters trained here also show that a teacher-forced pass tells, round by round, what real decoding does (`replay`, `theory`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models.decoding.counters import Counters
from models.decoding.draft_length import Costs
from models.decoding.draft_model import DraftModel
from models.decoding.eagle import EagleConfig, EagleDrafter, EagleLayer
from models.decoding.early_exit import EarlyExit
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MedusaConfig, MedusaDrafter, MedusaHeads
from models.decoding.mtp import MtpConfig, MtpDrafter, MtpHeads
from models.decoding.ngram_memory import NgramDrafter, remember
from models.decoding.prompt_lookup import PromptLookup
from models.decoding.replay import (
    check_greedy,
    draft_model_teacher,
    eagle_teacher,
    early_exit_teacher,
    looking_teacher,
    lookup_first_teacher,
    medusa_ranks,
    mtp_teacher,
    ranks_teacher,
    read_text,
)
from models.decoding.sampling import SamplingConfig
from models.decoding.theory import gamma_curve, replay_rounds, replay_tree
from models.decoding.training import (
    TextBatch,
    Texts,
    chosen_rows,
    eagle_loss,
    medusa_loss,
    shallow_copy,
    soft_loss,
    spread_layers,
    text_batches,
    train_draft,
    train_eagle,
    train_medusa,
    train_mtp,
    unroll,
)
from models.decoding.tree import best_shape
from models.fitting import FitConfig
from tests.models.decoding.test_drafters import BLOCK, HEADS, KEPT, LAYER, NET, UNEMBED, seeded, with_kept
from tests.models.decoding.toys import TINY, decode, text, tiny_llama

ROWS, LENGTH, STEPS = 96, 48, 60


def own_text(rows: int = ROWS, length: int = LENGTH) -> Texts:
    """Greedy text of the target after two random tokens; these do not count."""
    cache = NET.new_cache(length, batch=rows)
    tokens = torch.randint(0, 40, (rows, 2), generator=torch.Generator().manual_seed(0))
    hidden = NET(tokens, cache)
    while tokens.shape[1] < length:
        following = NET.head(hidden[:, -1:]).argmax(-1)
        tokens = torch.cat([tokens, following], 1)
        hidden = NET(following, cache)
    return Texts(tokens.numpy().astype(np.uint16), np.arange(length)[None].repeat(rows, 0) >= 2)


@pytest.fixture(scope="module")
def texts() -> Texts:
    with torch.no_grad():
        return own_text()


def batch_of(texts: Texts, size: int = 4) -> TextBatch:
    return text_batches(texts, NET, size, seed=0)(0)


def fitted(steps: int = STEPS) -> FitConfig:
    return FitConfig(steps=steps, lr=3e-3, warmup=5, bf16=False)


# --- definitions ---


def test_medusa_loss_is_its_definition(texts) -> None:
    """Head k at t against token t + k + 1, weighed by 0.8^k, only where the target wrote the label."""
    batch = batch_of(texts)
    heads = seeded(lambda: MedusaHeads(MedusaConfig(TINY.dim, 2, 40, 3)))
    for parameter in heads.parameters():
        parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    expected = 0.0
    for k in (1, 2):
        losses = []
        for row in range(4):
            for t in range(LENGTH - k - 1):
                if t + k + 1 >= 2:
                    logits = heads(batch.hidden[row, t], UNEMBED)[k - 1]
                    losses.append(cross_entropy(logits, batch.tokens[row, t + k + 1]))
        expected += 0.8**k * float(torch.stack(losses).mean())
    loss, metrics = medusa_loss(heads, batch, UNEMBED)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert set(metrics) == {"top1_1", "top1_2"}


def test_soft_medusa_loss_asks_the_target_at_the_guessed_place(texts) -> None:
    """Head k at t against the target's own law at t + k, from which it draws the token t + k + 1; the first places count too."""
    batch = batch_of(texts)
    batch = replace(batch, counted=torch.ones_like(batch.counted))
    heads = seeded(lambda: MedusaHeads(MedusaConfig(TINY.dim, 2, 40, 3)))
    expected = 0.0
    for k in (1, 2):
        logits = heads.head(k - 1, batch.hidden[:, : -k - 1], UNEMBED).flatten(0, 1)
        expected += 0.8**k * float(soft_loss(logits, UNEMBED(batch.hidden[:, k:-1]).flatten(0, 1)).mean())
    loss, metrics = medusa_loss(heads, batch, UNEMBED, soft=True)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_medusa_may_learn_from_some_places_only(texts) -> None:
    """Drawn anew with every seed, the same with the same, each as often as any other: the mean over draws is the loss of all."""
    batch, heads = batch_of(texts), seeded(lambda: MedusaHeads(MedusaConfig(TINY.dim, 2, 40, 3)))
    asked: list[int] = []

    def unembed(z: torch.Tensor) -> torch.Tensor:
        asked.append(z.shape[0])
        return UNEMBED(z)

    def loss(seed: int) -> float:
        made, _ = medusa_loss(heads, batch, unembed, soft=True, most=20, rng=torch.Generator().manual_seed(seed))
        return float(made.detach())

    assert loss(1) == loss(1) != loss(2) and set(asked[:2]) == {20}, "the target's law is computed once, for 20 places"
    assert len(asked) == 9, "once for the target and once a head"
    everywhere, _ = medusa_loss(heads, batch, UNEMBED, soft=True)
    drawn = torch.tensor([loss(seed) for seed in range(200)])
    assert float(drawn.mean()) == pytest.approx(float(everywhere.detach()), abs=4 * float(drawn.std()) / 200**0.5)
    enough, _ = medusa_loss(heads, batch, UNEMBED, soft=True, most=10**6, rng=torch.Generator())
    assert float(enough.detach()) == float(everywhere.detach())


def test_medusa_loss_leaves_out_tokens_the_head_cannot_say(texts) -> None:
    batch = batch_of(texts)
    narrow = with_kept(MedusaHeads(MedusaConfig(TINY.dim, 1, 24, 0)))
    loss, _ = medusa_loss(narrow, batch, lambda z: UNEMBED(z)[..., KEPT.long()])
    labels, states = batch.tokens[:, 2:], batch.hidden[:, :-2]
    inside = torch.isin(labels, KEPT.long())
    assert 0 < int(inside.sum()) < inside.numel()
    logits = UNEMBED(states[inside])[:, KEPT.long()]
    place = torch.searchsorted(KEPT.long(), labels[inside])
    assert float(loss.detach()) == pytest.approx(0.8 * float(cross_entropy(logits, place)), rel=1e-5)


def test_soft_loss_is_least_for_the_teacher_itself() -> None:
    teacher = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    p = teacher.softmax(-1)
    torch.testing.assert_close(soft_loss(teacher, teacher), -(p * p.log()).sum(-1))
    assert bool((soft_loss(torch.zeros(5, 7), teacher) > soft_loss(teacher, teacher)).all())


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero(texts) -> None:
    batch = batch_of(texts)
    empty = TextBatch(batch.tokens, torch.zeros_like(batch.counted), batch.hidden)
    heads, layer = MedusaHeads(MedusaConfig(TINY.dim, 2, 40, 0)), EagleLayer(EagleConfig(BLOCK, 40))
    for loss, _ in (medusa_loss(heads, empty, UNEMBED), eagle_loss(layer, empty, NET.tokens, UNEMBED)):
        loss.backward()
        assert float(loss.detach()) == 0.0


@pytest.mark.parametrize("first", [0, 5])
def test_an_unrolled_draft_is_the_draft_that_would_be_made(first) -> None:
    """Step s of row t equals the layer run by hand: true pairs up to t through a cache, then its own estimates."""
    T, steps = 14, 3
    tokens = torch.randint(0, 40, (1, T), generator=torch.Generator().manual_seed(2))
    hidden = NET(tokens)
    estimates = unroll(LAYER, hidden, NET.tokens(tokens), steps, first)
    assert [entry.shape[1] for entry in estimates] == [T - 1 - s - first for s in range(steps)]
    for row in range(estimates[-1].shape[1]):
        t = first + row
        drafter = EagleDrafter(LAYER, NET.tokens, UNEMBED, 64)
        state = drafter._extend(hidden[0, : t + 1], tokens[0, 1 : t + 2].tolist())
        for step in range(steps):
            torch.testing.assert_close(estimates[step][0, row], state, atol=1e-5, rtol=1e-5)
            if step + 1 < steps:
                state = drafter._extend(state[None], tokens[0, t + step + 2 : t + step + 3].tolist())


def test_eagle_loss_is_its_definition(texts) -> None:
    batch = batch_of(texts, 2)
    loss, metrics = eagle_loss(LAYER, batch, NET.tokens, UNEMBED, steps=2, regress=0.3)
    expected = 0.0
    for step, estimate in enumerate(unroll(LAYER, batch.hidden, NET.tokens(batch.tokens), 2)):
        losses, same = [], []
        for row in range(2):
            for t in range(LENGTH - 2 - step):
                if not batch.counted[row, t + step + 2]:
                    continue
                truth = batch.hidden[row, t + step + 1]
                teacher, guess = UNEMBED(truth), UNEMBED(estimate[row, t])
                distance = torch.nn.functional.smooth_l1_loss(estimate[row, t], truth)
                losses.append(-(teacher.softmax(-1) * guess.log_softmax(-1)).sum() + 0.3 * distance)
                same.append(float(teacher.argmax() == guess.argmax()))
        expected += 0.8**step * float(torch.stack(losses).mean())
        assert metrics[f"top1_{step + 1}"] == pytest.approx(np.mean(same))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_rows_come_once_an_epoch_whatever_the_batch() -> None:
    epoch = np.concatenate([chosen_rows(10, 4, 0, step) for step in range(5)])
    assert sorted(epoch[:10]) == sorted(epoch[10:]) == list(range(10))
    assert list(epoch[:10]) != list(epoch[10:]) and list(chosen_rows(10, 20, 0, 0)) == list(epoch)


def test_the_head_of_a_conversation_never_counts() -> None:
    rows = Texts(np.array([[5, 6]], dtype=np.uint16), np.array([[True, False]]), head=(1, 2, 3))
    tokens, counted = rows.rows(np.array([0]))
    assert tokens.tolist() == [[1, 2, 3, 5, 6]] and counted.tolist() == [[False] * 3 + [True, False]]
    with pytest.raises(ValueError, match="equal tables"):
        Texts(np.zeros((2, 3)), np.zeros((2, 2), dtype=bool))


def test_a_shallow_copy_has_the_chosen_layers() -> None:
    assert spread_layers(30, 4) == [0, 10, 19, 29] and spread_layers(5, 1) == [0]
    small = shallow_copy(NET, [0, 2])
    assert torch.equal(small.blocks[1].qkv.weight, NET.blocks[2].qkv.weight) and len(small.blocks) == 2
    assert torch.equal(small.tokens.weight, NET.tokens.weight) and small.unembed.weight is small.tokens.weight
    whole, ids = shallow_copy(NET, [0, 1, 2]), torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(whole(ids), NET(ids))


# --- learning, and what a teacher-forced pass tells of it ---


class Trained:
    """Drafters that learned for a moment."""

    def __init__(self, texts: Texts) -> None:
        batches = text_batches(texts, NET, 16, seed=1)
        self.heads = MedusaHeads(MedusaConfig(TINY.dim, 3, 40, 0))
        self.layer = seeded(lambda: EagleLayer(EagleConfig(BLOCK, 40))).requires_grad_(True)
        self.mtp = seeded(lambda: MtpHeads(MtpConfig(BLOCK, (2, 3, 4), 40))).requires_grad_(True)
        self.draft = shallow_copy(NET, [0, 2])
        self.runs = {
            "medusa": list(train_medusa(self.heads, batches, UNEMBED, fitted())),
            "eagle": list(train_eagle(self.layer, batches, NET.tokens, UNEMBED, fitted())),
            "mtp": list(train_mtp(self.mtp, batches, UNEMBED, fitted())),
            "draft": list(train_draft(self.draft, batches, UNEMBED, fitted())),
        }
        for module in (self.heads, self.layer, self.mtp, self.draft):
            module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(texts) -> Trained:
    return Trained(texts)


@pytest.mark.parametrize(("kind", "agrees_more"), [("medusa", 0.0), ("eagle", 0.1), ("mtp", 0.0), ("draft", 0.1)])
def test_drafters_learn(trained, kind, agrees_more) -> None:
    """The loss falls by a twentieth; drafters that see the token before agree more with the target (random text tells others little)."""
    steps = trained.runs[kind]
    first = sorted(name for name in steps[0].metrics if name.startswith("top1"))[0]
    begin, end = (np.mean([[step.loss, step.metrics[first]] for step in part], 0) for part in (steps[:5], steps[-5:]))
    assert end[0] < 0.95 * begin[0] and end[1] > begin[1] + agrees_more - 0.05
    assert [step.step for step in steps] == list(range(1, STEPS + 1))


PROMPT = [1, 2, 3, 4, 5]
MEMORY = remember(own_text().tokens, own_text().counted, TINY.vocab_size)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(
    "kind", ["medusa", "eagle", "mtp", "draft", "early exit", "lookup", "ngram", "lookup, then ngram", "lookup, then eagle"]
)
def test_one_pass_tells_every_round_of_any_draft_length(trained, kind, length) -> None:
    t = trained

    def both() -> LookupFirst:
        return LookupFirst(EagleDrafter(t.layer, NET.tokens, UNEMBED, 512), sure=2)

    drafter = {
        "medusa": lambda: MedusaDrafter(t.heads, UNEMBED, [(0,), (0, 0), (0, 0, 0)], [[1.0]] * 3),
        "eagle": lambda: EagleDrafter(t.layer, NET.tokens, UNEMBED, 512),
        "mtp": lambda: MtpDrafter(t.mtp, UNEMBED, 512),
        "draft": lambda: DraftModel(t.draft, 512),
        "early exit": lambda: EarlyExit(NET, 2),
        "lookup": PromptLookup,
        "ngram": lambda: NgramDrafter(MEMORY),
        "lookup, then ngram": lambda: LookupFirst(NgramDrafter(MEMORY)),
        "lookup, then eagle": both,
    }[kind]()
    rounds, run = decode(NET, drafter, PROMPT, length=length, tokens=60)
    finished = list(read_text(NET, run.ids, len(PROMPT)))[-1]
    teacher = {
        "medusa": lambda: ranks_teacher(medusa_ranks(t.heads, UNEMBED, finished), 3),
        "eagle": lambda: eagle_teacher(t.layer, NET.tokens, UNEMBED, finished, 3),
        "mtp": lambda: mtp_teacher(t.mtp, UNEMBED, finished, 3),
        "draft": lambda: draft_model_teacher(t.draft, finished, 3),
        "early exit": lambda: early_exit_teacher(NET, 2, finished, 3),
        "lookup": lambda: looking_teacher(finished.ids.tolist(), finished.reply, 3, PromptLookup()),
        "ngram": lambda: looking_teacher(finished.ids.tolist(), finished.reply, 3, NgramDrafter(MEMORY)),
        "lookup, then ngram": lambda: looking_teacher(finished.ids.tolist(), finished.reply, 3, LookupFirst(NgramDrafter(MEMORY))),
        "lookup, then eagle": lambda: lookup_first_teacher(
            finished.ids.tolist(), finished.reply, 3, both(), eagle_teacher(t.layer, NET.tokens, UNEMBED, finished, 3)
        ),
    }[kind]()
    told = replay_rounds(teacher, length)
    assert [committed for _, committed in told] == [len(done.committed) for done in rounds]
    assert [proposed for proposed, _ in told] == [len(done.drafted) for done in rounds]
    assert sum(done.accepted for done in rounds) > 0
    counters = Counters()
    for done in rounds:
        counters.add(done)
    point = gamma_curve(teacher, Costs(verify_s=(1.0, 1.1, 1.2, 1.3), draft_s=(0.1, 0.2, 0.3)), 3)[length]
    assert point.tokens_per_round == pytest.approx(counters.tokens_per_round)


def test_one_pass_tells_every_round_of_any_tree(trained) -> None:
    accuracies = [[0.5, 0.2, 0.1], [0.3, 0.2, 0.1], [0.2, 0.1, 0.1]]
    shape = best_shape(accuracies, 12)
    rounds, run = decode(NET, MedusaDrafter(trained.heads, UNEMBED, shape, accuracies), PROMPT, length=12, tokens=60)
    finished = list(read_text(NET, run.ids, len(PROMPT)))[-1]
    told = replay_tree(medusa_ranks(trained.heads, UNEMBED, finished), shape)
    full = next(index for index, done in enumerate(rounds) if len(done.drafted) < 12)  # the end of the text cuts the tree
    assert told[:full] == [len(done.committed) for done in rounds][:full] and full > 10
    assert any(node.fate == "accepted" and node.parent != index - 1 for done in rounds for index, node in enumerate(done.drafted))


def test_the_stamp_finds_what_is_not_greedy() -> None:
    rounds, run = decode(NET, EarlyExit(NET, 2), PROMPT, tokens=30)
    checked = list(check_greedy(NET, run.ids, len(PROMPT)))
    assert checked[-1] == (30, []) and not any(found for _, found in checked)
    other = list(run.ids)
    other[20] = (other[20] + 1) % 40
    found = [mismatch for _, part in check_greedy(NET, other, len(PROMPT)) for mismatch in part]
    assert found[0].place == 20 and found[0].token == other[20] and found[0].best == run.ids[20] and found[0].gap > 0
    penalised = SamplingConfig(repetition_penalty=1.4)
    rounds, run = decode(NET, PromptLookup(), PROMPT, penalised, tokens=30)
    assert not any(part for _, part in check_greedy(NET, run.ids, len(PROMPT), penalised))
    assert any(part for _, part in check_greedy(NET, run.ids, len(PROMPT)))
    assert text(rounds) == run.ids[len(PROMPT) :] and tiny_llama().config == TINY and HEADS.config.dim == TINY.dim
