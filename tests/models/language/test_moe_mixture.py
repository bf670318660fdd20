"""The built-in mixture's data, tokenizer and training: splits that never mix, batches by seed, balance that comes about."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from models.checkpoint import CheckpointError
from models.fitting import Average, FitConfig
from models.language import mixture_data
from models.language.deepseek_v3 import DeepseekV3
from models.language.gating import AS_IS, Steering
from models.language.mixture_data import (
    END,
    MixtureBank,
    Sources,
    documents,
    held_out_windows,
    is_held_out,
    mixture_tokenizer,
    packed_bits_per_byte,
)
from models.language.mixture_training import Balancing, DomainScore, MixtureLoss, score_rows, start, train_mixture
from models.language.switch import SwitchDecoder
from tests.models.language.test_moe import DEEPSEEK, SWITCH

QUESTIONS = [f"What is {thing} number {n}?" for thing in ("stone", "river", "cloud") for n in range(30)]
WORDS = {1: "<|im_end|>\n<|im_start|>assistant\n", 2: "It is a thing.", 3: "<|im_end|>\n<|im_start|>user\n", 4: " And so on and"}


def decode(ids) -> str:
    """Rows begin behind the marker of a user's turn, so with the line break after it."""
    return "\n" + "".join(QUESTIONS[i - 100] if i >= 100 else WORDS[i] for i in ids)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Sources:
    library = tmp_path_factory.mktemp("library")
    for n in range(60):
        (library / f"module_{n:02}.py").write_text(f"# module {n}\n" + "def add(a, b):\n    return a + b\n\n" * 10)
    (library / "test").mkdir()
    (library / "test" / "test_all.py").write_text("assert True\n" * 100)
    rows = np.array([[100 + n, 1, 2, 2, 3, 100 + (n * 7) % 90, 1, 2, 4] for n in range(90)], np.uint16)
    return Sources(rows=rows, decode=decode, library=library)


@pytest.fixture(scope="module")
def bank(sources, tmp_path_factory) -> MixtureBank:
    bank = MixtureBank(tmp_path_factory.mktemp("bank"))
    said = list(bank.fill(sources, {"arithmetic": 150, "captions": 60}, vocab_size=400))
    assert any("tokenizer" in note for note in said) and any("captions" in note for note in said)
    return bank


# --- splits ---


def keys_of(domain: str, text: str) -> list[str]:
    """What a document was split by, found again in its text."""
    if domain == "conversation":
        return [re.match(r"User: (.*)\n", text)[1]]
    if domain == "python":
        number = int(re.match(r"# module (\d+)", text)[1])
        return [f"module_{number:02}.py"]
    return text.splitlines()


@pytest.mark.parametrize("domain", mixture_data.DOMAINS)
def test_no_document_of_one_split_has_a_key_of_the_other(domain, sources):
    train, held = (list(islice(documents(domain, side, sources, 100), 100 if side is False else 15)) for side in (False, True))
    seen = [{key for text in texts for key in keys_of(domain, text)} for texts in (train, held)]
    assert train and held and not seen[0] & seen[1]
    if domain != "arithmetic":
        assert not any(is_held_out(domain, key) for key in seen[0]) and all(is_held_out(domain, key) for key in seen[1])
    assert documents(domain, True, sources, 1).__next__() == held[0], "the same documents every time"


def test_about_one_key_in_twenty_is_held_out():
    """Of 20,000 keys 1,000 +- 31; off by 5 deviations once in a million."""
    assert abs(sum(is_held_out("python", f"{n}.py") for n in range(20_000)) - 1000) < 155


def test_turning_a_sum_around_does_not_smuggle_it_into_training(sources):
    def sums(held_out: bool) -> set:
        found = re.findall(r"^(\d+) ([+*]) (\d+) =", "\n".join(documents("arithmetic", held_out, sources, 400)), re.M)
        return {(sign, *sorted((a, b), key=int)) for a, sign, b in found}

    assert sums(True) and not sums(True) & sums(False)


def test_arithmetic_is_right(sources):
    text = "\n".join(documents("arithmetic", False, sources, 300))
    equations = re.findall(r"^(.*) = (-?\d+)$", text, re.M)
    assert len(equations) > 1000
    for left, right in equations:
        assert all(eval(part) == int(right) for part in left.split(" = ")), left
    for a, b, q, r in re.findall(r"^(\d+) / (\d+) = (\d+) remainder (\d+)$", text, re.M):
        assert divmod(int(a), int(b)) == (int(q), int(r))
    assert all({"<": int(a) < int(b), ">": int(a) > int(b), "=": a == b}[s] for a, s, b in re.findall(r"^(\d+) ([<>]) (\d+)$", text, re.M))


def test_conversations_are_plain_and_end_with_a_sentence(sources):
    for text in documents("conversation", False, sources, 10):
        answers = r"Assistant: It is a thing\.It is a thing\.", r"Assistant: It is a thing\."
        assert re.fullmatch(r"User: What .*\?\n{}\nUser: What .*\?\n{}".format(*answers), text)


def test_without_conversations_there_are_three_domains(sources):
    assert Sources(library=sources.library).domains == ("python", "arithmetic", "captions")


# --- tokens and batches ---


def test_the_tokenizer_reads_everything_and_comes_back_from_its_file(bank, tmp_path):
    text = "Was it 2024? Ünïcödé 🌟 \x00 def f(x):\n\treturn x"
    assert bank.tokenizer.decode(bank.tokenizer.encode(text)) == text
    assert [bank.tokenizer.token_text(i) for i in bank.tokenizer.encode("2024")] == list("2024"), "digits stay single"
    assert bank.tokenizer.encode(END, special=True) == [bank.tokenizer.end_id] and bank.tokenizer.vocab_size == 400
    bank.tokenizer.save(tmp_path / "tokenizer.json")
    again = mixture_tokenizer(tmp_path / "tokenizer.json")
    assert again.fingerprint == bank.tokenizer.fingerprint and again.end_id == bank.tokenizer.end_id
    with pytest.raises(CheckpointError):
        mixture_tokenizer(tmp_path / "none.json")


def test_a_bank_comes_back_from_its_folder(bank):
    again = MixtureBank(bank.folder).open()
    assert again.domains == bank.domains == mixture_data.DOMAINS
    assert all(np.array_equal(again.streams[domain], stream) for domain, stream in bank.streams.items())
    assert not MixtureBank(bank.folder / "elsewhere").is_filled


def test_a_damaged_bank_is_told_in_a_sentence(bank, tmp_path):
    for content in (b"PK no zip", b"", (bank.folder / mixture_data.BANK).read_bytes()[:500]):
        (tmp_path / mixture_data.BANK).write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            MixtureBank(tmp_path).open()


def test_streams_are_the_training_documents(bank, sources):
    texts = list(documents("python", False, sources, 3))
    expected = [i for text in texts for i in (bank.tokenizer.end_id, *bank.tokenizer.encode(text))]
    assert bank.streams["python"][: len(expected)].tolist() == expected


def test_batches_are_a_function_of_seed_and_step(bank):
    first, again, next_step, other = (bank.batch(*where) for where in ((3, 16, 20, 0), (3, 16, 20, 0), (4, 16, 20, 0), (3, 16, 20, 1)))
    assert torch.equal(first.ids, again.ids) and not torch.equal(first.ids, next_step.ids) and not torch.equal(first.ids, other.ids)
    assert first.ids.shape == (16, 21) and torch.bincount(first.domains).tolist() == [6, 4, 3, 3]
    assert torch.bincount(bank.batch(0, 4, 20, 0).domains).tolist() == [1, 1, 1, 1]
    for row, owner in zip(first.ids, first.domains):
        stream = torch.from_numpy(bank.streams[bank.domains[owner]].astype(np.int64))
        assert (stream.unfold(0, 21, 1) == row).all(1).any(), "a window lies within one domain"


def test_windows_of_a_held_out_document_predict_each_token_once(bank):
    text = "a person kicking, a beach\n" * 30
    rows, ids = held_out_windows(text, bank.tokenizer, 16), bank.tokenizer.encode(text)
    assert [i for row in rows for i in row[1:]] == ids and rows[0][0] == bank.tokenizer.end_id
    assert all(1 < len(row) <= 17 for row in rows) and all(a[-1] == b[0] for a, b in zip(rows, rows[1:]))


def test_scores_by_hand():
    score = DomainScore(documents=1, tokens=4, bytes=10, nats=4 * float(np.log(8)))
    assert score.perplexity == pytest.approx(8) and score.bits_per_byte == pytest.approx(12 / 10)
    assert packed_bits_per_byte(["same " * 2000]) < 0.2 < packed_bits_per_byte([np.random.default_rng(0).bytes(3000).hex()])


@torch.no_grad()
def test_padding_costs_nothing():
    torch.manual_seed(0)
    model = DeepseekV3(tiny(DEEPSEEK)).eval()
    rows = [[0, 5, 6, 7, 8, 9], [0, 5, 6]]
    nats, counted, trace = score_rows(model, rows, AS_IS, 0)
    alone, _, _ = score_rows(model, rows[1:], AS_IS, 0)
    assert counted.sum(1).tolist() == [5, 2] and trace.layers[1].experts.shape[:2] == (2, 5)
    assert float(nats[1].sum()) == pytest.approx(float(alone.sum()), abs=1e-4) and float(nats[1, 2:].sum()) == 0
    logits = model.head(model(torch.tensor([rows[1][:2]])))
    assert float(alone.sum()) == pytest.approx(float(cross_entropy(logits[0], torch.tensor([5, 6]), reduction="sum")), abs=1e-4)


# --- training ---


def tiny(config):
    return type(config)(**{**vars(config), "vocab_size": 400})


def run(bank, model, balancing: Balancing, steps: int, lr: float = 3e-3) -> tuple[MixtureLoss, list]:
    start(model, 0)
    loss = MixtureLoss(model, bank.domains, lambda: balancing)
    config = FitConfig(steps=steps, lr=lr, warmup=2, bf16=False)
    return loss, list(train_mixture(model, bank, loss, 8, 24, config, Average(model, 0.9)))


@torch.no_grad()
def test_the_loss_is_the_mean_over_tokens_plus_the_module_and_the_sequence_loss(bank):
    model = DeepseekV3(tiny(DEEPSEEK))
    start(model, 0)
    batch = bank.batch(0, 8, 24, 0)
    plain, named = MixtureLoss(model, bank.domains, lambda: Balancing(kind="none", mtp_weight=0.0))(batch, None)
    logits = model.head(model(batch.ids[:, :-1]))
    assert float(plain) == pytest.approx(float(cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten())), rel=1e-5)
    share = torch.bincount(batch.domains) / 8
    assert float(plain) == pytest.approx(float(sum(share[i] * named[domain] for i, domain in enumerate(bank.domains))), rel=1e-5)
    ahead = model.head(model.look_ahead(model(batch.ids[:, :-1])[:, :-1], batch.ids[:, 1:-1]))
    second = cross_entropy(ahead.flatten(0, 1), batch.ids[:, 2:].flatten())
    whole, named = MixtureLoss(model, bank.domains, lambda: Balancing(kind="none"))(batch, None)
    assert float(whole) == pytest.approx(float(plain + 0.3 * second), rel=1e-5) and named["mtp"] == pytest.approx(float(second), rel=1e-5)


def test_the_bias_is_moved_once_a_batch_and_learns_no_gradient(bank):
    model = DeepseekV3(tiny(DEEPSEEK))
    loss, steps = run(bank, model, Balancing(kind="loss-free", bias_step=0.01), 3)
    for layer, bias in model.biases().items():
        moves = (bias / 0.01).round()
        assert torch.allclose(bias, moves * 0.01, atol=1e-6) and moves.abs().max() <= 3 and bias.abs().sum() > 0, layer
        assert not bias.requires_grad
    assert sorted(model.biases()) == [1, 2, 3], "the prediction module has a gate, too"
    assert set(loss.counts) == {1, 2, 3} and loss.top_k == 3 and loss.tokens == 8 * 24


def test_balancing_without_a_loss_evens_the_load(bank):
    """Same data, same first weights: MaxVio of the last steps with a moving bias is well below that without."""
    late = {}
    for kind in ("none", "loss-free"):
        _, steps = run(bank, DeepseekV3(tiny(DEEPSEEK)), Balancing(kind=kind, bias_step=0.02, sequence_weight=0.0, mtp_weight=0.0), 60)
        late[kind] = sum(step.metrics["max_vio"] for step in steps[-10:]) / 10
        assert steps[-1].loss < steps[0].loss - 1
    assert late["loss-free"] < 0.75 * late["none"], late


def test_a_switch_learns_with_its_losses_and_tells_what_it_drops(bank):
    balancing = Balancing(kind="aux-loss", aux_weight=0.05, steer=Steering(capacity_factor=1.0))
    _, steps = run(bank, SwitchDecoder(tiny(SWITCH)), balancing, 25)
    assert steps[-1].loss < steps[0].loss - 0.5 and all(0 <= step.metrics["dropped"] < 1 for step in steps)
    assert any(step.metrics["dropped"] > 0 for step in steps)
    with pytest.raises(ValueError, match="no selection bias"):
        MixtureLoss(SwitchDecoder(tiny(SWITCH)), bank.domains, lambda: Balancing(kind="loss-free"))


def test_first_weights_are_a_function_of_the_seed():
    models = [DeepseekV3(tiny(DEEPSEEK)) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2)):
        start(model, seed)
    states = [torch.cat([t.flatten() for t in model.state_dict().values()]) for model in models]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert (models[0].norm_out.weight == 1).all() and (models[0].blocks[1].ffn.bias == 0).all()
