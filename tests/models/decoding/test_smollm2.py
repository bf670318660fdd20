"""Real greedy text, token for token: a few tokens of SmolLM2 with the drafters that need no training.

`python main.py run benchmark-decoding` does the same over all prompts and drafters.
"""

from __future__ import annotations

import torch

from models.decoding.draft_length import Adaptive, FixedLength
from models.decoding.drafting import NoDrafter
from models.decoding.early_exit import EarlyExit
from models.decoding.generate import Generation
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MedusaConfig, MedusaDrafter, MedusaHeads
from models.decoding.prompt_lookup import PromptLookup
from models.decoding.replay import check_greedy
from models.decoding.sampling import SamplingConfig
from tests.models.decoding.toys import text

PROMPT = "<|im_start|>user\nSay the word red five times, then the word blue five times.<|im_end|>\n<|im_start|>assistant\n"
TOKENS = 16


def test_greedy_text_of_smollm2_does_not_depend_on_the_drafter(smollm2) -> None:
    net, ids = smollm2.model, smollm2.tokenizer.encode(PROMPT, special=True)
    heads = MedusaHeads(MedusaConfig(net.config.dim, 3, net.config.vocab_size, 0)).eval()

    def run(drafter, length):
        made = Generation(net, ids, drafter, SamplingConfig(), length, smollm2.tokenizer.stop_ids, TOKENS, smollm2.context)
        return list(made.rounds()), made.ids

    plain, whole = run(NoDrafter(), FixedLength(0))
    drafters = (
        (PromptLookup(), FixedLength(3)),
        (PromptLookup(), Adaptive()),
        (LookupFirst(MedusaDrafter(heads, net.head)), FixedLength(6)),
        (EarlyExit(net, 20), FixedLength(2)),
    )
    for drafter, length in drafters:
        rounds, _ = run(drafter, length)
        assert text(rounds) == text(plain), drafter.name
    assert not any(found for _, found in check_greedy(net, whole, len(ids)))
    assert torch.is_grad_enabled()
