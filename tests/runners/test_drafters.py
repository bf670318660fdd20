"""Benchmark, choice, written conversations and training of drafters, on a tiny random LLaMA."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from app.jobs.chat import Chat, ChatStatus, ChooseDrafter, GammaCurve
from app.jobs.drafters import BenchmarkDecoding, TrainDrafter, WriteConversations
from app.protocol.events import Done, Failed, Progress, Record, Step
from app.runners import conversations, decoding_bench, drafter_training, drafters
from app.runners.conversations import FILE, glue_of, read_conversations, save_conversations
from models import catalog
from models.checkpoint import save_sharded
from models.decoding.ngram_memory import NgramMemory, remember
from models.drafters import Sizes, build_from, fresh
from models.language.formats import apply_format, has_fbgemm
from models.language.llama import LLAMA_CONFIGS
from tests.runners.tiny_language import CONFIG, END, START, tiny_language

KEY = "smollm2"
TRAINED = ("medusa", "eagle", "mtp", "draft")
KINDS = (*TRAINED, "ngram")


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def refused(events):
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    return last.report.title


@pytest.fixture(autouse=True)
def tiny_everything(tmp_path, monkeypatch):
    """Weights in a folder of their own, drafters of the tiny model's size, no machine measured before."""
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setitem(LLAMA_CONFIGS, "smollm2-135m", CONFIG)
    return tmp_path


@pytest.fixture
def language():
    return tiny_language()


@pytest.fixture
def nets(language):
    """The tiny model under all the names it is asked for."""
    return {KEY: language, f"{KEY}@fp32": language}


@pytest.fixture
def run(drive, nets):
    return partial(drive, models=nets)


@pytest.fixture
def with_drafters(nets):
    """Random drafters of every trained kind, as files and in memory."""
    torch.manual_seed(0)
    for kind in TRAINED:
        net = fresh(kind, CONFIG, Sizes(kept=64, heads=2, rank=4, layers=1))
        if kind != "draft":
            net.kept.copy_(torch.arange(64) * 4)
        save_sharded(net.state_dict(), catalog.spec(f"{KEY}/{kind}").path)
        nets[f"{KEY}/{kind}"] = catalog.load(f"{KEY}/{kind}")
    save_sharded(counted_anywhere().state_dict(), catalog.spec(f"{KEY}/ngram").path)
    nets[f"{KEY}/ngram"] = catalog.load(f"{KEY}/ngram")
    return nets


def counted_anywhere(vocab_size: int = CONFIG.vocab_size) -> NgramMemory:
    """A memory of single tokens: it has something to say behind every text."""
    tokens = np.tile(np.arange(256), (3, 2))
    return remember(tokens, np.ones(tokens.shape, bool), vocab_size, orders=(1,))


# --- trained drafters run ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draft_length", [0, 3])
def test_untrained_weights_of_every_kind_leave_greedy_texts_as_they_are(run, with_drafters, kind, draft_length):
    asked = Chat(prompt="ab ab ab", max_new_tokens=30, device="cpu", measure=False, drafter="none")
    plain = result(run(asked)).facts
    drafted = result(run(replace(asked, drafter=kind, draft_length=draft_length, prompt="ab ab ab"))).facts
    assert drafted["token_ids"] == plain["token_ids"] and drafted["drafter"] == kind and drafted["lossless"]
    if draft_length:
        assert drafted["counters"]["num_draft_tokens"] > 0


@pytest.mark.skipif(not has_fbgemm(), reason="this processor has no FBGEMM")
@pytest.mark.parametrize("kind", KINDS)
def test_drafters_run_in_the_packed_numbers_of_their_target(run, nets, with_drafters, kind):
    """Both are packed; the texts are those of plain decoding in the same format."""
    packed = tiny_language()
    apply_format(packed.model, "fp16-fbgemm")
    nets[KEY] = replace(packed, format="fp16-fbgemm")
    asked = Chat(prompt="ab ab ab", max_new_tokens=20, device="cpu", measure=False, drafter="none")
    plain, drafted = result(run(asked)).facts, result(run(replace(asked, drafter=kind, draft_length=3))).facts
    assert drafted["token_ids"] == plain["token_ids"] and drafted["lossless"] and drafted["counters"]["num_draft_tokens"] > 0
    again = result(run(replace(asked, drafter=kind, draft_length=3))).facts
    assert again["token_ids"] == plain["token_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_turn_drafts_with_what_was_remembered(run, with_drafters, kind, monkeypatch):
    monkeypatch.setattr("app.runners.chat_memory.WORTH_SHARING", 10)
    asked = Chat(prompt="ab ab ab ab ab", max_new_tokens=12, device="cpu", measure=False, drafter=kind, draft_length=2, temperature=0.8)
    first, again = result(run(asked)).facts, result(run(asked)).facts
    assert first["reused"] == 0 < again["reused"] and again["token_ids"] == first["token_ids"]
    proposed = [[each["proposed"] for each in facts["rounds"]] for facts in (first, again)]
    assert proposed[0] == proposed[1]


@pytest.mark.parametrize("kind", KINDS)
def test_gamma_curves_of_trained_drafters_fit_what_they_do(run, with_drafters, kind):
    asked = Chat(prompt="ab ab ab", max_new_tokens=30, device="cpu", measure=False, drafter=kind, draft_length=2)
    facts = result(run(asked)).facts
    ids = {"prompt_ids": tuple(facts["prompt_ids"]), "reply_ids": tuple(facts["token_ids"]), "device": "cpu"}
    report = result(run(GammaCurve(drafter=kind, max_length=3, **ids))).files["report"]
    assert len(report.points) == 4 and len(report.draft_s) == 3
    if kind == "medusa":
        assert not report.exact and "tree" in report.notes[0]
    else:
        assert report.exact and report.points[2].tokens_per_round == pytest.approx(30 / facts["counters"]["rounds"])


def test_typical_acceptance_is_badged(run, with_drafters):
    asked = Chat(prompt="ab", max_new_tokens=8, device="cpu", drafter="medusa", draft_length=2, temperature=1.0, typical=True)
    events = run(asked)
    prompt = next(event.payload for event in events if isinstance(event, Record) and event.channel == "prompt")
    assert not prompt.lossless and "Typical" in prompt.notes[0] and not result(events).facts["lossless"]


def test_a_drafter_of_another_vocabulary_or_size_is_refused(run, with_drafters):
    with_drafters[f"{KEY}/eagle"].kept += 1000
    assert "another vocabulary" in refused(run(Chat(prompt="ab", device="cpu", drafter="eagle")))
    with_drafters[f"{KEY}/medusa"] = fresh("medusa", replace(CONFIG, dim=8), Sizes(kept=64, heads=2, rank=4))
    assert "states of 8 numbers" in refused(run(Chat(prompt="ab", device="cpu", drafter="medusa")))


def test_drafters_that_know_other_tokens_do_not_share_an_output_matrix(language):
    kept = torch.arange(64) * 4, torch.arange(64) * 2, torch.arange(64) * 4
    first, second, again = (drafters.unembed(language, ids.int()) for ids in kept)
    state = torch.randn(CONFIG.dim, generator=torch.Generator().manual_seed(0))
    whole = language.model.head(state[None])[0]
    torch.testing.assert_close(first(state), whole[kept[0]])
    torch.testing.assert_close(second(state), whole[kept[1]])
    assert again is first and drafters.unembed(language, torch.arange(CONFIG.vocab_size)) == language.model.head


def test_a_memory_speaks_where_the_text_does_not_repeat_itself(run, with_drafters):
    asked = Chat(prompt="xyz", max_new_tokens=20, device="cpu", measure=False, drafter="ngram", draft_length=2)
    told = [event.payload.drafter for event in run(asked) if isinstance(event, Record) and event.channel == "round"]
    assert {"ngram", "lookup"} == set(told) and told[0] == "ngram"


def test_memories_that_cannot_be_are_refused(run, with_drafters):
    asked = Chat(prompt="ab", device="cpu", drafter="ngram")
    with_drafters[f"{KEY}/ngram"].following_1[3] = 999
    assert "tokens that do not exist" in refused(run(asked))
    with_drafters[f"{KEY}/ngram"] = counted_anywhere(vocab_size=300)
    assert "300 tokens" in refused(run(asked))
    with_drafters[f"{KEY}/eagle"].kept[0] = -3
    assert "tokens that do not exist" in refused(run(replace(asked, drafter="eagle")))


@pytest.mark.parametrize(
    "tensors",
    [
        {"keys_2": torch.zeros(3, dtype=torch.int64)},
        {"keys_2": torch.zeros(3, dtype=torch.int64), "following_2": torch.zeros(2, dtype=torch.int32), "share_2": torch.zeros(3)},
        {"keys_2": torch.zeros(3, 2, dtype=torch.int64), "following_2": torch.zeros(3, dtype=torch.int32), "share_2": torch.zeros(3)},
        {"keys_999999999999": torch.zeros(1, dtype=torch.int64)},
        {"keys_x": torch.zeros(1, dtype=torch.int64)},
        {"keys_2": torch.tensor(1)},
        {"other": torch.zeros(1)},
    ],
    ids=["columns missing", "unequal", "a table of tables", "endless", "no number", "no column", "something else"],
)
def test_files_that_hold_no_memory_are_refused(tiny_everything, tensors):
    save_sharded(tensors, catalog.spec(f"{KEY}/ngram").path)
    with pytest.raises(catalog.CheckpointError):
        catalog.load(f"{KEY}/ngram")


def test_a_damaged_drafter_file_is_told(run, tiny_everything):
    path = catalog.spec(f"{KEY}/eagle").path
    save_sharded({"kept": torch.zeros(3), "other.0.weight": torch.zeros(2)}, path)
    last = result_or_report(run(Chat(prompt="ab", device="cpu", drafter="eagle"), models=None))
    assert last
    with pytest.raises(catalog.CheckpointError, match="does not hold a medusa drafter"):
        build_from(path, "medusa", CONFIG)


def result_or_report(events):
    return getattr(events[-1], "report", None) or events[-1].result


# --- measuring -----------------------------------------------------------------------------------------


def test_the_benchmark_measures_everybody_on_everything(run):
    events = run(BenchmarkDecoding(prompts=3, max_new_tokens=12, repetitions=2, device="cpu"))
    done = result(events)
    rows = {row["drafter"]: row for row in done.facts["rows"]}
    assert list(rows) == ["none", "lookup", "early-exit"]
    assert rows["none"]["speedup"] == 1.0 and all(row["same_text"] == row["texts"] == 3 for row in rows.values())
    assert all(set(row["speedup_by_kind"]) == {"chat", "copy", "code"} for row in rows.values())
    assert rows["lookup"]["tokens_per_round"] >= 1.0 and rows["lookup"]["tokens_per_s_spread"] > 0
    runs = done.files["runs.json"]
    assert set(runs["lookup"]) == {f"{r}/{n}" for r in range(2) for n in range(3)}
    by_hand = np.mean([np.mean([runs["lookup"][f"{r}/{n}"] for n in range(3)]) for r in range(2)])
    assert rows["lookup"]["tokens_per_s"] == pytest.approx(by_hand)
    assert done.facts["table"] == done.files["table.txt"] and "lookup" in done.facts["table"]
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[-1].index == steps[-1].total == 18
    fastest = done.facts["fastest"]
    assert drafters.measured(KEY).best == fastest


def test_the_benchmark_tells_texts_that_differ():
    plain, other = (decoding_bench.Entrant(name, None, None) for name in ("none", "lookup"))
    prompts = decoding_bench.built_in_prompts()[:2]
    plan = decoding_bench.Plan(prompts, 1, 4, None)
    plain.texts, other.texts = {0: [1, 2], 1: [3]}, {0: [1, 2], 1: [4]}
    plain.speeds, other.speeds = {(0, 0): 10.0, (0, 1): 20.0}, {(0, 0): 20.0, (0, 1): 20.0}
    row = decoding_bench.row_of(other, plain, plan)
    assert row["same_text"] == 1 and row["speedup"] == pytest.approx(20 / 15)


def test_the_benchmark_refuses_what_cannot_run(run, tmp_path):
    assert "no drafter" in refused(run(BenchmarkDecoding(drafters=("wizard",), device="cpu")))
    assert "missing" in refused(run(BenchmarkDecoding(drafters=("medusa",), device="cpu")))
    assert "no text files" in refused(run(BenchmarkDecoding(folder=str(tmp_path / "nothing"), device="cpu")))


def test_prompts_of_ones_own_are_read_from_a_folder(run, tmp_path):
    (tmp_path / "mine.txt").write_text("say something", encoding="utf-8")
    done = result(run(BenchmarkDecoding(folder=str(tmp_path), drafters=("lookup",), max_new_tokens=5, repetitions=1, device="cpu")))
    assert set(done.facts["rows"][1]["speedup_by_kind"]) == {"mine"} and drafters.measured(KEY) is None


def test_the_built_in_prompts_are_twenty_of_five_kinds():
    prompts = decoding_bench.built_in_prompts()
    assert len(prompts) == 20 and len({prompt.text for prompt in prompts}) == 20
    assert {prompt.kind for prompt in prompts[:5]} == {"chat", "copy", "code", "list", "story"}


def test_held_out_prompts_share_no_question_with_the_training_topics():
    words = json.loads(conversations.TOPICS.read_text(encoding="utf-8"))
    asked = {template.format(a=a, b=b) for template in words["templates"] for a in words["topics"] for b in ("bread",)}
    assert not asked & {prompt.text for prompt in decoding_bench.built_in_prompts()}


def test_auto_takes_what_was_measured_to_be_the_fastest(run):
    drafters.remember_measured(KEY, {"none": 50.0, "lookup": 70.0, "early-exit": 20.0}, "today")
    facts = result(run(Chat(prompt="ab", max_new_tokens=4, device="cpu"))).facts
    assert facts["drafter"] == "lookup" and "1.40 x plain" in facts["drafter_reason"] and facts["plain_tokens_per_s"] == 50.0
    drafters.remember_measured(KEY, {"none": 50.0, "lookup": 40.0}, "later")
    assert result(run(Chat(prompt="ab", max_new_tokens=4, device="cpu"))).facts["drafter"] == "none"
    status = result(run(ChatStatus()))
    assert status.facts["auto"] == "none" and {row.name: row.speedup for row in status.files["drafters"]}["lookup"] == 0.8


def test_auto_measures_first_where_nothing_is_known(run):
    events = run(Chat(prompt="ab", max_new_tokens=4, device="cpu"))
    assert any(isinstance(event, Progress) and "fastest" in event.note for event in events)
    known = drafters.measured(KEY)
    assert set(known.tokens_per_s) == {"none", "lookup"} and result(events).facts["drafter"] == known.best
    again = run(Chat(prompt="ab", max_new_tokens=4, device="cpu"))
    assert not any(isinstance(event, Progress) and "fastest" in event.note for event in again)


def test_auto_does_without_measuring_when_told_to(run):
    facts = result(run(Chat(prompt="ab", max_new_tokens=4, device="cpu", measure=False))).facts
    assert facts["drafter"] == "lookup" and facts["drafter_reason"] == "not measured here yet" and drafters.measured(KEY) is None


def test_where_nothing_is_known_a_memory_goes_before_lookup_alone(run, with_drafters):
    facts = result(run(Chat(prompt="ab", max_new_tokens=4, device="cpu", measure=False))).facts
    assert facts["drafter"] == result(run(ChatStatus())).facts["auto"] == "ngram"


def test_measurements_of_other_drafter_files_and_damaged_ones_do_not_count(run, with_drafters):
    drafters.remember_measured(KEY, {"none": 1.0}, "today")
    assert drafters.measured(KEY) is not None
    save_sharded({"kept": torch.zeros(99)}, catalog.spec(f"{KEY}/eagle").path)
    assert drafters.measured(KEY) is None
    drafters._file().write_text("{ not json", encoding="utf-8")
    assert drafters.measured(KEY) is None


def test_choosing_again_is_asked_for(run):
    first = result(run(ChooseDrafter(tokens=8, prompts=2, device="cpu"))).facts
    assert first["fresh"] and {row["drafter"] for row in first["table"]} == {"none", "lookup"}
    assert not result(run(ChooseDrafter(tokens=8, prompts=2, device="cpu"))).facts["fresh"]
    assert result(run(ChooseDrafter(tokens=8, prompts=2, again=True, device="cpu"))).facts["fresh"]


# --- conversations -------------------------------------------------------------------------------------


def write(run, folder, **changes):
    values = {"rows": 6, "batch_size": 4, "length": 60, "folder": str(folder), "device": "cpu"}
    return result(run(WriteConversations(**(values | changes)))).facts


def test_the_template_comes_apart_at_its_markers(language):
    glue = glue_of(language)
    encode = language.tokenizer.encode
    assert glue.head == [START, *encode("user")] or glue.head == [START, encode("user")[0]]
    assert glue.to_assistant[0] == END and glue.to_user[0] == END and glue.stops == {END}
    whole = [*glue.head, *glue.before_user, *encode("hi"), *glue.to_assistant, *encode("yes"), *glue.to_user]
    assert language.tokenizer.decode(whole) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\n"


def test_conversations_are_chat_and_greedy_rows_are_what_the_model_says(run, language, tmp_path):
    facts = write(run, tmp_path, greedy=1.0)
    columns = read_conversations(tmp_path / "conversations.npz")
    assert columns["tokens"].shape == (6, 60) == columns["assistant"].shape and facts["rows"] == 6 and columns["greedy"].all()
    glue = glue_of(language)
    for tokens, assistant in zip(columns["tokens"].tolist(), columns["assistant"], strict=True):
        whole = [*glue.head, *tokens]
        best = language.model.head(language.model(torch.tensor([whole]))[0]).argmax(-1).tolist()
        for place in np.flatnonzero(assistant):
            at = len(glue.head) + int(place)
            assert whole[at] == best[at - 1]
        first = int(assistant.argmax()) if assistant.any() else len(tokens)
        assert first == len(tokens) or tokens[first - len(glue.to_assistant) : first] == glue.to_assistant


def test_writing_goes_on_where_it_stopped_and_follows_the_seed(run, tmp_path):
    write(run, tmp_path / "a", rows=4)
    write(run, tmp_path / "a", rows=8)
    write(run, tmp_path / "b", rows=8)
    write(run, tmp_path / "c", rows=8, seed=1)
    a, b, c = (read_conversations(tmp_path / name / "conversations.npz") for name in "abc")
    assert np.array_equal(a["tokens"], b["tokens"]) and not np.array_equal(a["tokens"], c["tokens"])
    assert "60" in refused(run(WriteConversations(rows=9, length=30, folder=str(tmp_path / "a"), device="cpu")))


def test_files_that_hold_no_conversations_are_refused(tmp_path):
    bad = tmp_path / "conversations.npz"
    for content in (b"", b"PK\x03\x04 nonsense", b"\x93NUMPY"):
        bad.write_bytes(content)
        with pytest.raises(Exception, match="does not hold conversations"):
            read_conversations(bad)
    save_conversations(bad, {"tokens": np.zeros((2, 5), np.uint16), "assistant": np.zeros((2, 4), bool), "greedy": np.zeros(2, bool)})
    with pytest.raises(Exception, match="do not fit"):
        read_conversations(bad)
    with pytest.raises(Exception, match="no file"):
        read_conversations(tmp_path / "nowhere.npz")


# --- training ------------------------------------------------------------------------------------------


@pytest.fixture
def written(run, tmp_path):
    """A folder with conversations of the tiny model."""
    write(run, tmp_path / "work", rows=24, batch_size=24, greedy=1.0, length=150)
    return tmp_path / "work"


def training(kind, place, **changes):
    values = {"kind": kind, "steps": 3, "batch_size": 4, "folder": str(place), "bf16": False, "device": "cpu", "validation": 0.25,
              "vocabulary": 64, "heads": 2, "rank": 4, "layers": 1}  # fmt: skip
    return TrainDrafter(**(values | changes))


@pytest.mark.parametrize("kind", TRAINED)
def test_every_drafter_trains_resumes_installs_and_then_runs(run, drive, nets, written, kind):
    first = result(run(training(kind, written))).facts
    assert first["updates"] == 3 and first["rows"] == 18 and len(first["accepted_at"]) == 4 and first["tokens_per_round"][0] >= 1
    assert first["loss"] > 0 and 0 <= first["top1_1" if kind != "mtp" else "top1_2"] <= 1
    more = result(run(training(kind, written, steps=5, install=True)))
    assert more.facts["updates"] == 2 and "loss.csv" in more.files
    assert catalog.available(f"{KEY}/{kind}")
    nets[f"{KEY}/{kind}"] = catalog.load(f"{KEY}/{kind}")
    asked = Chat(prompt="ab", max_new_tokens=12, device="cpu", drafter="none")
    plain, drafted = result(run(asked)).facts, result(run(replace(asked, drafter=kind, draft_length=2))).facts
    assert drafted["token_ids"] == plain["token_ids"]
    assert result(run(training(kind, written, steps=1, go_on=True, folder=str(written / "more"), conversations=str(written / FILE))))


def test_a_memory_is_counted_installed_and_then_runs(run, nets, written):
    facts = result(run(training("ngram", written, install=True, least=2, share=0.4))).facts
    columns = read_conversations(written / FILE)
    rows = np.arange(24) % 4 != 1
    by_hand = remember(columns["tokens"][rows], columns["assistant"][rows], CONFIG.vocab_size, least=2, share=0.4)
    nets[f"{KEY}/ngram"] = catalog.load(f"{KEY}/ngram")
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(nets[f"{KEY}/ngram"].state_dict()[name], value, atol=1e-3, rtol=0)
    assert facts["rows"] == 18 and facts["entries"] == {str(n): size for n, size in by_hand.config.entries.items()}
    assert facts["held_out_tokens"] > 0 and 0 < facts["accepted_at"][0] < 1 < facts["tokens_per_round"][0]
    asked = Chat(prompt="ab", max_new_tokens=12, device="cpu", drafter="none")
    plain, drafted = result(run(asked)).facts, result(run(replace(asked, drafter="ngram", draft_length=2))).facts
    assert drafted["token_ids"] == plain["token_ids"]


def test_training_learns_to_guess(run, written):
    untrained = result(run(training("eagle", written, steps=1, lr=1e-7))).facts
    trained = result(run(training("eagle", written, steps=60, lr=1e-2, vocabulary=0, ema=0.5))).facts
    assert trained["loss"] < 0.7 * untrained["loss"] and trained["accepted_at"][0] > untrained["accepted_at"][0] + 0.1


def test_states_are_read_once_and_rows_beyond_the_room_every_time(run, written, monkeypatch):
    read = []
    original = drafter_training.States._read
    monkeypatch.setattr(drafter_training.States, "_read", lambda self, rows: (read.extend(rows), original(self, rows))[1])
    run(training("eagle", written, steps=9))
    assert sorted(read) == list(range(18))
    read.clear()
    row_bytes = 2 * (150 + len(glue_of(tiny_language()).head)) * CONFIG.dim
    run(training("eagle", written, steps=9, keep_states=10 * row_bytes / 1e9, folder=str(written / "small"),
                 conversations=str(written / "conversations.npz")))  # fmt: skip
    assert sorted(set(read)) == list(range(18)) and len(read) == 36 - sum(1 for row in range(10)) and read.count(17) == 2


def test_the_same_seed_trains_the_same_drafter(run, written):
    jobs = [training("medusa", written, folder=str(written / name), conversations=str(written / FILE)) for name in "ab"]
    assert result(run(jobs[0])).facts["loss"] == result(run(jobs[1])).facts["loss"]


def test_training_needs_conversations_and_a_known_model(run, tmp_path):
    assert "no file" in refused(run(training("eagle", tmp_path)))
    assert "built-in names" in refused(run(training("eagle", tmp_path, model="language:/x.gguf")))
