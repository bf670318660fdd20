"""train-moe and evaluate-moe on a tiny mixture and a handful of documents."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.jobs.moe import EvaluateMoe, TrainMoe
from app.protocol.events import Done, Failed, Record
from models import catalog, int8_blocks
from models.checkpoint import save_sharded
from models.fitting import averaged_weights
from models.language import deepseek_v3, mixture_training
from models.language.mixture_data import TOKENIZER, MixtureBank, mixture_tokenizer
from tests.models.language.test_moe import DEEPSEEK, SWITCH


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Tiny networks in place of the built-in ones, a small library of Python files, weights in a folder of their own."""
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setitem(deepseek_v3.DEEPSEEK_CONFIGS, "mixture", replace(DEEPSEEK, vocab_size=4096, n_layers=2))
    monkeypatch.setitem(mixture_training.SWITCH_CONFIGS, "mixture", replace(SWITCH, vocab_size=4096))
    library = tmp_path / "library"
    library.mkdir()
    for n in range(60):
        (library / f"m{n}.py").write_text(f"# module {n}\n" + f"def f{n}(a, b):\n    return a + b * {n}\n\n" * 8)
    return tmp_path


def training(home, **changes) -> TrainMoe:
    values = {
        "steps": 2, "batch_size": 4, "window": 16, "documents": 100, "bf16": False, "device": "cpu", "library": str(home / "library"),
        "folder": str(home / "work"), "lr": 0.01,
    }  # fmt: skip
    return TrainMoe(**{**values, **changes})


def evaluation(home, **changes) -> EvaluateMoe:
    return EvaluateMoe(**{"library": str(home / "library"), "tokens": 300, "window": 16, "device": "cpu", **changes})


def records(events, channel: str) -> list:
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def as_stored(value: torch.Tensor) -> torch.Tensor:
    """A tensor as it comes back from shipped weights."""
    kept = int8_blocks.dequantise(*int8_blocks.quantise(value)) if int8_blocks.worthwhile(value) else value.half()
    return kept.float()


def test_training_runs_resumes_installs_and_is_measured(home, drive):
    first = drive(training(home))
    assert isinstance(first[-1], Done), first[-1]
    facts = first[-1].result.facts
    assert facts["updates"] == 2 and facts["domains"] == "python, arithmetic, captions"
    losses = [entry for payload in records(first, "train") for entry in payload]
    assert [entry["step"] for entry in losses] == [1, 2]
    assert {"python", "arithmetic", "captions", "mtp", "max_vio", "dropped"} <= losses[0].keys()
    routing = records(first, "routing")[-1]
    assert routing["layers"] == [1, 2] and routing["load"].values.shape == routing["bias"].values.shape == (2, 8)
    assert routing["load"].values.mean(axis=1) == pytest.approx(1) and routing["chance"] > 0 and routing["step"] == 2
    more = drive(training(home, steps=3, install=True))
    assert more[-1].result.facts["updates"] == 1, "the two made before are not made again"
    folder = home / "work" / next((home / "work").glob("moe-deepseek-loss-free-*")).name
    installed, average = catalog.load("builtin-moe").state_dict(), averaged_weights(folder)
    assert all(torch.equal(installed[name], as_stored(value)) for name, value in average.items())
    measured = drive(evaluation(home))[-1]
    assert isinstance(measured, Done), measured
    facts, files = measured.result.facts, measured.result.files
    assert all(facts[domain]["perplexity"] > 1 and facts[domain]["bytes"] > 0 for domain in ("python", "arithmetic", "captions"))
    assert "conversation" not in facts and 0 < facts["max_vio_global_chance"] < facts["max_vio_batch_chance"]
    assert "held-out domain" in facts["table"] and set(files) == {"table.txt", "balance.json", "specialisation.json"}
    special = files["specialisation.json"]["layer 1"]
    assert special["domains"] == ["python", "arithmetic", "captions"] and special["chance"] == pytest.approx(3 / 8)
    assert sum(special["share"][0]) == pytest.approx(3, abs=1e-3)
    read = [facts[domain]["tokens"] for domain in special["domains"]]
    assert special["tokens"] == read, "padding has no domain"
    assert all(one["tokens"] == sum(read) and sum(one["load"]) == 3 * sum(read) for one in files["balance.json"]), "nor a load"
    from_folder = drive(evaluation(home, checkpoint=str(folder)))[-1].result.facts
    assert from_folder["python"]["perplexity"] == pytest.approx(facts["python"]["perplexity"], rel=0.01)  # fp16 against fp32
    assert from_folder["python"]["tokens"] == facts["python"]["tokens"]


def test_resumed_training_equals_an_unbroken_one(home, drive):
    drive(training(home, steps=2, cooldown=0.0, folder=str(home / "a")))
    drive(training(home, steps=4, cooldown=0.0, folder=str(home / "a")))
    drive(training(home, steps=4, cooldown=0.0, folder=str(home / "b")))
    broken, whole = (averaged_weights(next((home / name).glob("moe-deepseek-*"))) for name in "ab")
    assert broken.keys() == whole.keys() and all(torch.equal(broken[name], whole[name]) for name in whole)


def test_a_switch_trains_with_its_losses_beside_the_other(home, drive):
    events = drive(training(home, model="switch", capacity_factor=0.5))
    assert isinstance(events[-1], Done), events[-1]
    routing = records(events, "routing")[-1]
    assert routing["bias"] is None and routing["load"].values.shape == (2, 4)
    assert [entry for payload in records(events, "train") for entry in payload][-1]["dropped"] > 0
    assert [path.name.rsplit("-", 1)[0] for path in (home / "work").glob("moe-*")] == ["moe-switch-aux-loss"]


def test_going_on_keeps_the_installed_tokenizer(home, drive):
    drive(training(home, install=True))
    installed = mixture_tokenizer(home / "weights" / "builtin-moe-tokenizer.json")
    other = training(home, go_on=True, steps=1, folder=str(home / "other"), documents=150, lr=1e-7)
    assert isinstance(drive(other)[-1], Done)
    assert MixtureBank(home / "other" / "moe").open().tokenizer.fingerprint == installed.fingerprint


def test_conversations_become_a_domain(home, drive, monkeypatch):
    class Words:
        @staticmethod
        def decode(ids):
            return "".join(f"\nWhy {i}?" if i > 9 else ("<|im_end|>\n<|im_start|>assistant\n", " Because of it.")[i] for i in ids)

    monkeypatch.setattr("app.runners.moe.Tokenizer.from_gguf", lambda path: Words)
    tokens = np.array([[10 + n, 0, 1, 1, 1] for n in range(80)], np.uint16)
    buffer = io.BytesIO()
    np.savez(buffer, tokens=tokens, assistant=tokens < 9, greedy=np.ones(80, bool))
    (home / "talk.npz").write_bytes(buffer.getvalue())
    (home / "words.gguf").touch()
    events = drive(training(home, conversations=str(home / "talk.npz"), tokenizer=str(home / "words.gguf")))
    assert events[-1].result.facts["domains"] == "conversation, python, arithmetic, captions"
    assert (home / "work" / "moe" / TOKENIZER).is_file()


@pytest.mark.parametrize(("changes", "words"), [
    ({"library": "/nowhere/at/all"}, "There is no folder"),
    ({"conversations": "/nowhere.npz"}, "/nowhere.npz"),
    ({"model": "switch", "balancing": "loss-free"}, "no selection bias"),
    ({"model": "switch", "install": True}, "not one of the built-in"),
])  # fmt: skip
def test_training_that_cannot_be_is_told_in_a_sentence(home, drive, changes, words):
    failed = drive(training(home, **changes))[-1]
    assert isinstance(failed, Failed) and failed.report.kind == "user" and words in failed.report.title


def test_a_checkpoint_of_another_shape_is_told_in_a_sentence(home, drive, monkeypatch):
    """A folder that an older version left: to go on with, and to look at."""
    folder = drive(training(home, steps=1))[-1].result.facts["checkpoint"]
    monkeypatch.setitem(deepseek_v3.DEEPSEEK_CONFIGS, "mixture", replace(DEEPSEEK, vocab_size=4096, n_layers=2, n_experts=16))
    for job in (training(home), evaluation(home, checkpoint=folder)):
        failed = drive(job)[-1]
        assert isinstance(failed, Failed) and failed.report.kind == "user" and "another shape" in failed.report.title


def test_too_little_text_is_told(home, drive):
    for path in (home / "library").iterdir():
        path.write_text("x = 1\n" * 40) if path.name == "m3.py" else path.unlink()
    failed = drive(training(home, window=1000))[-1]
    assert isinstance(failed, Failed) and "too little text of the kind python" in failed.report.title


@pytest.mark.parametrize(("changes", "words"), [
    ({}, "builtin-moe"), ({"checkpoint": "/nowhere"}, "nowhere has no"), ({"model": "playworld/joints"}, "playworld-joints"),
])  # fmt: skip
def test_measuring_what_is_not_there_is_told(home, drive, changes, words):
    spec = catalog.SPECS["playworld/joints"]
    save_sharded(spec.build().state_dict(), spec.path)
    failed = drive(evaluation(home, **changes))[-1]
    assert isinstance(failed, Failed) and failed.report.kind == "user" and words in f"{failed.report.title} {failed.report.hint}"
