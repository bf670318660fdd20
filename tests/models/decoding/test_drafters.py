"""Every drafter on a tiny random LLaMA: greedy text is plain text, caches are exact, texts end where they must."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.decoding.block import BlockConfig
from models.decoding.draft_length import Adaptive, FixedLength
from models.decoding.draft_model import DraftModel
from models.decoding.drafting import Context, Draft, Drafter, NoDrafter
from models.decoding.eagle import EagleConfig, EagleDrafter, EagleLayer
from models.decoding.early_exit import EarlyExit
from models.decoding.generate import Generation, generate
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MedusaConfig, MedusaDrafter, MedusaHeads
from models.decoding.mtp import MtpConfig, MtpDrafter, MtpHeads
from models.decoding.narrow import common_tokens, unembedding
from models.decoding.ngram_memory import NgramDrafter, remember
from models.decoding.prompt_lookup import BELIEF, PromptLookup
from models.decoding.sampling import SamplingConfig, law
from models.decoding.speculative import Typical
from models.decoding.training import shallow_copy
from models.decoding.tree import best_shape
from tests.models.decoding.toys import TINY, decode, text, tiny_llama

NET = tiny_llama()
PROMPT = [1, 2, 3, 4, 5]
BLOCK = BlockConfig(TINY.dim, TINY.n_heads, TINY.n_kv_heads, TINY.head_dim, TINY.ffn_dim, TINY.norm_eps, TINY.rope_theta, TINY.max_len)
KEPT = common_tokens([torch.arange(0, 40, 2).repeat(2).numpy(), torch.arange(40).numpy()], 40, 24)
UNEMBED, NARROW = unembedding(NET.unembed.weight, None), unembedding(NET.unembed.weight, KEPT)
ACCURACIES = ((0.3, 0.2, 0.1), (0.2, 0.1, 0.1), (0.1, 0.1, 0.1))


def seeded(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build().eval().requires_grad_(False)


def with_kept(module: torch.nn.Module) -> torch.nn.Module:
    module.kept.copy_(KEPT)
    return module


HEADS = seeded(lambda: MedusaHeads(MedusaConfig(TINY.dim, 3, 40, 4)))
NARROW_HEADS = with_kept(seeded(lambda: MedusaHeads(MedusaConfig(TINY.dim, 3, 24, 0))))
LAYER = seeded(lambda: EagleLayer(EagleConfig(BLOCK, 40)))
NARROW_LAYER = with_kept(seeded(lambda: EagleLayer(EagleConfig(BLOCK, 24))))
FIRST = unembedding(NET.unembed.weight, torch.arange(24))  # a list of tokens without a gap, and yet not all of them
FIRST_LAYER = seeded(lambda: EagleLayer(EagleConfig(BLOCK, 24)))
FIRST_MTP = seeded(lambda: MtpHeads(MtpConfig(BLOCK, (2, 3, 4), 24)))
MTP = seeded(lambda: MtpHeads(MtpConfig(BLOCK, (2, 3, 4), 40)))
MEMORY = remember(np.tile(np.arange(40), (2, 3)), np.ones((2, 120), dtype=bool), 40)
DRAFTERS: dict[str, Callable[[], Drafter]] = {
    "lookup": PromptLookup,
    "early exit": lambda: EarlyExit(NET, 2),
    "draft": lambda: DraftModel(shallow_copy(NET, [0, 2]), 512),
    "draft, perfect": lambda: DraftModel(NET, 512),
    "medusa": lambda: MedusaDrafter(HEADS, UNEMBED),
    "medusa, fixed tree": lambda: MedusaDrafter(HEADS, UNEMBED, best_shape(ACCURACIES, 9), ACCURACIES),
    "medusa, few tokens": lambda: MedusaDrafter(NARROW_HEADS, NARROW),
    "medusa, typical": lambda: MedusaDrafter(HEADS, UNEMBED, typical=Typical()),
    "eagle": lambda: EagleDrafter(LAYER, NET.tokens, UNEMBED, 512),
    "eagle, few tokens": lambda: EagleDrafter(NARROW_LAYER, NET.tokens, NARROW, 512),
    "eagle, the first tokens": lambda: EagleDrafter(FIRST_LAYER, NET.tokens, FIRST, 512),
    "mtp": lambda: MtpDrafter(MTP, UNEMBED, 512),
    "mtp, the first tokens": lambda: MtpDrafter(FIRST_MTP, FIRST, 512),
    "n-gram memory": lambda: NgramDrafter(MEMORY),
    "lookup, else eagle": lambda: LookupFirst(EagleDrafter(LAYER, NET.tokens, UNEMBED, 512), sure=1),
}


class Cheap(Adaptive):
    """Adaptive with drafts that cost nothing, so that it does draft."""

    def __init__(self) -> None:
        super().__init__(clock=False)


def plain(prompt: list[int] = PROMPT, sampling: SamplingConfig | None = None, tokens: int = 40, **options) -> list[int]:
    return text(decode(NET, NoDrafter(), prompt, sampling, tokens=tokens, **options)[0])


@pytest.mark.parametrize("length", [1, 4, 9, Cheap], ids=str)
@pytest.mark.parametrize("name", DRAFTERS)
def test_greedy_text_is_that_of_plain_decoding(name, length) -> None:
    """And the target's cache afterwards is that of the text, to rounding (`decode` checks its length)."""
    rounds, run = decode(NET, DRAFTERS[name](), PROMPT, length=length() if length is Cheap else length)
    assert text(rounds) == plain()
    assert all(done.lossless for done in rounds)
    proposed = sum(len(done.drafted) for done in rounds)
    if length is not Cheap:
        assert proposed > 0, "nothing was tested"
        assert all(len(done.drafted) <= length for done in rounds)
    again = NET.new_cache(512)
    NET.step(torch.tensor(run.ids[:-1]), again)
    held = run.cache.length
    torch.testing.assert_close(run.cache.k[..., :held, :], again.k[..., :held, :], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(run.cache.v[..., :held, :], again.v[..., :held, :], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["lookup", "draft", "medusa", "eagle, few tokens", "mtp"])
def test_greedy_with_a_repetition_penalty_too(name) -> None:
    """The penalty of a drafted place counts the tokens drafted before it."""
    sampling = SamplingConfig(repetition_penalty=1.4)
    rounds, _ = decode(NET, DRAFTERS[name](), PROMPT, sampling)
    assert text(rounds) == plain(sampling=sampling)
    assert text(rounds) != plain()
    assert sum(done.accepted for done in rounds) > 0


@pytest.mark.parametrize("name", [name for name in DRAFTERS if name != "medusa, typical"])
def test_sampled_text_is_reproducible_and_a_longer_one_begins_with_it(name) -> None:
    sampling = SamplingConfig(temperature=1.0, seed=5)
    rounds, _ = decode(NET, DRAFTERS[name](), PROMPT, sampling, tokens=30)
    again, _ = decode(NET, DRAFTERS[name](), PROMPT, sampling, tokens=30)
    assert text(rounds) == text(again)
    longer, _ = decode(NET, DRAFTERS[name](), PROMPT, sampling, tokens=37)
    assert text(longer)[:30] == text(rounds) and len(text(longer)) == 37


def test_a_perfect_draft_is_always_accepted() -> None:
    for sampling in (SamplingConfig(), SamplingConfig(temperature=0.8, top_p=0.9)):
        rounds, _ = decode(NET, DraftModel(NET, 512), PROMPT, sampling, length=4, tokens=40)
        assert [len(done.committed) for done in rounds] == [5] * 8
        assert {token.kind for done in rounds for token in done.committed} == {"accepted", "bonus"}


def test_plain_rounds() -> None:
    rounds, _ = decode(NET, NoDrafter(), PROMPT, tokens=6)
    for index, done in enumerate(rounds):
        assert (done.index, done.position, done.drafted, done.draft_length) == (index, 5 + index, (), 0)
        assert [token.kind for token in done.committed] == ["plain"]
        assert done.committed[0].u is None and done.committed[0].p == 1.0
        (token,) = done.committed
        assert len(token.top) == 5 and token.top[0] == (token.token, pytest.approx(token.p_raw))
    assert [done.reason for done in rounds] == [None] * 5 + ["length"]


class Scripted:
    """Proposes what it was told, round after round; then nothing."""

    name = "script"

    def __init__(self, *drafts: Draft) -> None:
        self.drafts, self.observed = list(drafts), []

    def observe(self, start, ids, hidden) -> None:
        assert len(ids) == len(hidden)
        self.observed += [(start + offset, token, state) for offset, (token, state) in enumerate(zip(ids, hidden))]

    def propose(self, context: Context) -> Draft:
        return self.drafts.pop(0) if self.drafts else Draft()


def as_chain(tokens: list[int]) -> Draft:
    return Draft(tuple(tokens), tuple(range(-1, len(tokens) - 1)), (0.5,) * len(tokens), computed=len(tokens))


def test_a_stop_token_inside_an_accepted_run_ends_the_text_there() -> None:
    true = plain(tokens=8)
    stop = true[2]
    assert stop not in true[:2]
    rounds, run = decode(NET, Scripted(as_chain(true[:5])), PROMPT, length=8, tokens=30, stop_ids={stop})
    assert [token.token for token in rounds[0].committed] == true[:3] and rounds[0].reason == "stop" and len(rounds) == 1
    assert [token.kind for token in rounds[0].committed] == ["accepted"] * 3
    assert [node.fate for node in rounds[0].drafted] == ["accepted"] * 3 + ["untested"] * 2
    assert rounds[0].accepted == 3 and run.cache.length == 5 + 3 - 1


def test_a_length_limit_inside_an_accepted_run_cuts_it() -> None:
    true = plain(tokens=8)
    rounds, run = decode(NET, Scripted(as_chain(true[:5])), PROMPT, length=8, tokens=4)
    assert [token.token for token in rounds[0].committed] == true[:4] and rounds[0].reason == "length" and len(rounds) == 1
    assert [node.fate for node in rounds[0].drafted] == ["accepted"] * 4 + ["untested"]
    assert [token.kind for token in rounds[0].committed] == ["accepted"] * 4


def test_a_text_ends_with_its_context() -> None:
    run = Generation(NET, PROMPT, DraftModel(NET, 512), SamplingConfig(), FixedLength(4), max_new_tokens=100, context=12)
    rounds = list(run.rounds())
    assert len(run.ids) == 12 and rounds[-1].reason == "context" and run.ids[5:] == plain(tokens=7)
    with pytest.raises(ValueError, match="12"):
        Generation(NET, [1] * 12, NoDrafter(), SamplingConfig(), FixedLength(0), context=12)
    with pytest.raises(ValueError, match="at least one"):
        Generation(NET, [], NoDrafter(), SamplingConfig(), FixedLength(0))


def test_an_empty_draft_makes_a_plain_round() -> None:
    rounds, _ = decode(NET, Scripted(Draft(), as_chain([0])), PROMPT, tokens=3)
    assert [token.kind for token in rounds[0].committed] == ["plain"] and rounds[0].drafted == ()


def test_the_fates_of_a_tree() -> None:
    true = plain(tokens=4)
    wrong = [token for token in range(40) if token not in true][:4]
    tree = Draft((wrong[0], true[0], wrong[1], true[1], wrong[2], wrong[3]), (-1, -1, 0, 1, 1, 3), (0.5,) * 6, computed=6)
    scripted = Scripted(tree)
    rounds, run = decode(NET, scripted, PROMPT, length=6, tokens=4)
    first = rounds[0]
    assert [node.fate for node in first.drafted] == ["rejected", "accepted", "untested", "accepted", "rejected", "rejected"]
    assert [node.p for node in first.drafted] == [0.0, 1.0, None, 1.0, 0.0, 0.0]
    assert [node.depth for node in first.drafted] == [1, 1, 2, 2, 2, 3]
    assert [token.kind for token in first.committed] == ["accepted", "accepted", "corrected"]
    assert run.ids[5:] == true


def test_drafters_are_told_every_token_once_with_its_state() -> None:
    true = plain(tokens=6)
    scripted = Scripted(as_chain(true[:2]), Draft(), Draft((39, true[4]), (-1, -1), (0.5, 0.5)))
    rounds, run = decode(NET, scripted, PROMPT, length=4, tokens=6)
    states = NET(torch.tensor([run.ids]))[0]
    assert [place for place, _, _ in scripted.observed] == list(range(len(run.ids) - 1))
    assert [token for _, token, _ in scripted.observed] == run.ids[:-1]
    for place, _, state in scripted.observed:
        torch.testing.assert_close(state, states[place], atol=1e-4, rtol=0)


def test_typical_acceptance_is_said_not_to_be_lossless() -> None:
    rounds, _ = decode(NET, MedusaDrafter(HEADS, UNEMBED, typical=Typical()), PROMPT, SamplingConfig(temperature=1.0), length=4)
    assert not any(done.lossless for done in rounds)
    assert sum(done.accepted for done in rounds) > 0


def test_lookup_takes_the_longest_and_latest_match_and_follows_a_loop() -> None:
    ids = [1, 2, 3, 9, 8, 2, 3, 7, 5, 2, 3]

    def propose(ids: list[int], lookup: PromptLookup, length: int = 3) -> tuple[int, ...]:
        from models.decoding.draft_length import FixedBudget

        return lookup.propose(Context(ids, None, None, SamplingConfig(), None, FixedBudget(length))).tokens

    lookup = PromptLookup(longest=3)
    assert propose(ids, lookup) == (7, 5, 2)  # the latest "2 3"
    assert propose([*ids, 9], lookup) == (8, 2, 3)  # "2 3 9" stood at the beginning
    assert propose([4, 6, 4, 6], PromptLookup(), 5) == (4, 6, 4, 6, 4)
    assert propose([1, 2, 3], PromptLookup()) == ()
    assert propose([7, 1, 7], PromptLookup(shortest=2)) == ()


def test_what_was_looked_up_and_what_was_guessed_are_told_apart() -> None:
    rounds, _ = decode(NET, DRAFTERS["lookup, else eagle"](), PROMPT, length=2, tokens=60)
    assert {done.drafter for done in rounds} == {"lookup", "eagle"}
    for done in rounds:
        assert not done.drafted or (done.drafter == "lookup") == (done.drafted[0].q_raw in BELIEF)


def test_drafters_can_be_changed_between_rounds() -> None:
    """A drafter that comes late catches up by itself."""
    run = Generation(NET, PROMPT, NoDrafter(), SamplingConfig(), FixedLength(3), max_new_tokens=44, context=512)
    rounds = run.rounds()
    made = []
    for name in ("lookup", "draft, perfect", "eagle", "mtp", "medusa", "early exit", "draft, perfect"):
        run.drafter = DRAFTERS[name]()
        made += [next(rounds) for _ in range(2)]
    made += list(rounds)
    assert text(made) == plain(tokens=44)
    assert {done.drafter for done in made} >= {"lookup", "draft", "eagle", "mtp", "medusa", "early-exit"}
    assert sum(done.accepted for done in made if done.drafter == "draft") > 6


def test_a_cache_is_reused_as_far_as_the_texts_agree() -> None:
    first = Generation(NET, PROMPT, NoDrafter(), SamplingConfig(), FixedLength(3), max_new_tokens=6, context=64)
    list(first.rounds())
    following = [*first.ids[:8], 11, 12]
    run = Generation(
        NET, following, DRAFTERS["eagle"](), SamplingConfig(), FixedLength(3), max_new_tokens=20, context=64,
        cache=first.cache, cached_ids=first.ids[:-1],
    )  # fmt: skip
    assert run.reused == 8
    assert text(list(run.rounds())) == plain(following, tokens=20)


def test_prefill_in_chunks_is_prefill_at_once() -> None:
    prompt = [(7 * place) % 40 for place in range(50)]
    run = Generation(NET, prompt, DRAFTERS["draft"](), SamplingConfig(), FixedLength(3), max_new_tokens=10, context=128)
    assert list(run.prefill(chunk=20)) == [(20, 49), (40, 49), (49, 49)]
    assert text(list(run.rounds())) == plain(prompt, tokens=10)


def test_one_token_is_prompt_enough() -> None:
    for name in DRAFTERS:
        rounds, _ = decode(NET, DRAFTERS[name](), [7], tokens=9)
        assert text(rounds) == plain([7], tokens=9)


def test_generate_is_the_short_way() -> None:
    rounds = list(generate(NET, PromptLookup(), PROMPT, SamplingConfig(), "auto", max_new_tokens=12))
    assert text(rounds) == plain(tokens=12)


def test_draft_laws_are_filtered_like_the_targets() -> None:
    """With top-k 2 a drafter never proposes its third choice, and the recorded q are of the filtered law."""
    sampling = SamplingConfig(temperature=1.0, top_k=2, seed=1)
    rounds, run = decode(NET, DraftModel(NET, 512), PROMPT, sampling, length=3)
    logits, _ = NET.step(torch.tensor(run.ids), NET.new_cache(512))
    filtered = law(logits, sampling)
    for done in rounds:
        for offset, node in enumerate(done.drafted):
            if node.fate == "accepted":
                assert node.q == pytest.approx(float(filtered[done.position + offset - 1, node.token]), abs=1e-4)
