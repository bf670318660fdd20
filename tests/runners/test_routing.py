"""The routing runner on tiny random mixtures: what is told is what the gates decided, steered and not; bad input is told in sentences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from app import runners
from app.jobs.models import ImportModel, ListModels
from app.jobs.routing import Routing, RoutingStatus
from app.protocol import commands
from app.protocol.events import Done, Failed, Preview, Record, Step
from app.runners.routing_source import Looker
from app.worker import loop
from app.worker.mailbox import Mailbox
from models import catalog
from models.checkpoint import save_sharded
from models.language.deepseek_v3 import DeepseekV3
from models.language.gating import RoutingTrace, Steering
from models.language.mixture_data import train_tokenizer
from models.language.moe import Mixtral
from models.language.switch import SwitchDecoder
from tests.conftest import torch_state
from tests.models.language.test_moe import DEEPSEEK, MIXTRAL, SWITCH, awake
from tests.runners.tiny_language import tiny_language

VOCAB = 300
TEXT = "A fox is a small animal.\n12 + 30 = 42\n"
KEY = "builtin-moe"


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(["the fox and the hen, 12 + 30 = 42\n" * 20], VOCAB)


@pytest.fixture
def home(tmp_path, monkeypatch, tokenizer):
    """A weights folder with the tokenizer of the built-in mixture, and a file that stands for its weights."""
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tmp_path / "weights"))
    tokenizer.save(tmp_path / "weights" / f"{KEY}-tokenizer.json")
    save_sharded({"here": torch.zeros(1)}, tmp_path / "weights" / KEY)
    return tmp_path


def deepseek(bias: float = 0.4) -> DeepseekV3:
    """Every gate has a selection bias large enough to change choices."""
    net = awake(DeepseekV3(replace(DEEPSEEK, vocab_size=VOCAB)))
    for layer, one in net.biases().items():
        one.copy_(bias * torch.randn(one.shape, generator=torch.Generator().manual_seed(layer)))
    return net


def switch(factor: float | None = None) -> SwitchDecoder:
    return awake(SwitchDecoder(replace(SWITCH, vocab_size=VOCAB, capacity_factor=factor)))


@pytest.fixture
def look(home, drive):
    """`look(job fields, net)`: the events of a run."""

    def run(net=None, job=Routing, **fields):
        return drive(job(**{"text": TEXT, "max_new_tokens": 0, "device": "cpu", **fields}), models={KEY: net or deepseek()})

    return run


def done(events):
    assert isinstance(events[-1], Done), getattr(events[-1], "report", events[-1])
    return events[-1].result


def told(events) -> dict:
    return done(events).files["routing.json"]


def records(events, channel):
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def ids_of(tokenizer, text: str = TEXT) -> list[int]:
    return [tokenizer.end_id, *tokenizer.encode(text)]


def traced(net, ids: list[int], **how) -> RoutingTrace:
    trace = RoutingTrace()
    with torch.no_grad():
        net(torch.tensor([ids]), trace=trace, **how)
    return trace


# --- what is told is what the gates decided -----------------------------------------------------------------


@pytest.mark.parametrize("make", [deepseek, switch, lambda: awake(Mixtral(replace(MIXTRAL, vocab_size=VOCAB)))])
def test_routing_json_is_the_trace_of_the_model(look, tokenizer, make):
    """Experts, weights, affinities and norms of every layer and token, read by the model in one pass without a cache."""
    table, ids = told(look(make())), ids_of(tokenizer)
    trace = traced(make(), ids)
    assert [token["id"] for token in table["tokens"]] == ids
    assert [layer["layer"] for layer in table["layers"]] == sorted(layer for layer in trace.layers if layer < make().config.n_layers)
    for layer in table["layers"]:
        own = trace.layers[layer["layer"]]
        assert [one["experts"] for one in layer["tokens"]] == own.experts[0].tolist()
        for name, values in (("weights", own.weights), ("affinities", own.affinities), ("routed_norm", own.routed_norm)):
            assert np.allclose([one[name] for one in layer["tokens"]], values[0], atol=2e-6)
        assert layer["bias"] == (None if own.bias is None else own.bias.tolist())
        chosen = [[row["affinities"][e] + (layer["bias"] or [0] * 99)[e] for e in row["experts"]] for row in layer["tokens"]]
        assert all(row == sorted(row, reverse=True) for row in np.round(chosen, 5).tolist())


def test_written_tokens_are_routed_as_in_one_pass_over_the_whole_text(look, tokenizer):
    events = look(max_new_tokens=12)
    table, result = told(events), done(events)
    ids = [token["id"] for token in table["tokens"]]
    given = len(ids_of(tokenizer))
    assert len(ids) == given + 12 and [t["phase"] for t in table["tokens"]] == ["prompt"] * given + ["generation"] * 12
    assert result.facts["text"] == tokenizer.decode(ids[given:])
    trace, logits = traced(deepseek(), ids), []
    for layer in table["layers"]:
        assert [one["experts"] for one in layer["tokens"]] == trace.layers[layer["layer"]].experts[0].tolist()
    with torch.no_grad():
        net = deepseek()
        logits = net.head(net(torch.tensor([ids])))[0]
    assert ids[given:] == logits[given - 1 : -1].argmax(-1).tolist(), "greedy"
    nats = -logits.log_softmax(-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert math.isnan(table["tokens"][0]["nats"])
    assert np.allclose([token["nats"] for token in table["tokens"][1:]], nats, atol=1e-4)
    assert result.facts["perplexity"] == pytest.approx(float(nats[: given - 1].mean().exp()), rel=1e-4)


@pytest.fixture
def each(monkeypatch):
    """Every token is told by itself, however quick the model is."""
    monkeypatch.setattr("app.runners.routing.TELL_S", 0.0)


def test_records_come_token_by_token_with_steps(look, tokenizer, each):
    events = look(max_new_tokens=6)
    (opened,), passes, given = records(events, "opened"), records(events, "pass"), len(ids_of(tokenizer))
    assert opened.layers == (1, 2) and opened.n_experts == 8 and opened.top_k == 3 and opened.has_bias and opened.groups == (4, 2)
    assert opened.gate == "sigmoid" and opened.n_shared == 1 and opened.steered == () and opened.context == 400
    assert [one.phase for one in passes] == ["prompt"] + ["generation"] * 6
    assert [one.start for one in passes] == [0, *range(given, given + 6)]
    steps = [event.index for event in events if isinstance(event, Step)]
    assert steps == [1, 2, 3, 4, 5, 6]
    order = [type(event).__name__ for event in events if isinstance(event, Step) or (isinstance(event, Record) and event.channel == "pass")]
    assert order[1:] == ["Record", "Step"] * 6
    assert all(one.read.tolist() == [1] and one.touched.tolist() == [[3], [3]] for one in passes[1:])


def test_tokens_of_a_moment_are_told_together_and_just_the_same(look, monkeypatch):
    """With drafts, so that passes over several tokens, some of them refused, are among them."""
    fields = {"max_new_tokens": 30, "draft_length": 4}
    monkeypatch.setattr("app.runners.routing.TELL_S", 0.0)
    single = look(**fields)
    monkeypatch.setattr("app.runners.routing.TELL_S", math.inf)
    together = look(**fields)
    assert str(told(single)) == str(told(together))
    apart, (prompt, whole) = records(single, "pass"), records(together, "pass")
    assert len(apart) > 10 and prompt.phase == "prompt" and whole.phase == "generation" and whole.start == len(prompt.tokens.ids)
    assert (whole.read > 1).any() and (whole.read == 1).any()
    for name in ("experts", "weights", "affinities", "flips", "live", "dropped", "margin", "routed_norm", "shared_norm", "touched"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(one, name) for one in apart[1:]], 1)), name
    assert np.array_equal(whole.read, np.concatenate([one.read for one in apart[1:]]))
    assert whole.tokens.ids == sum((one.tokens.ids for one in apart[1:]), ())
    steps = [[(e.index, e.total) for e in events if isinstance(e, Step)] for events in (single, together)]
    assert steps[1] == steps[0][-1:], "the last step counts all passes"


def test_who_goes_step_by_step_is_told_each_token(home, monkeypatch):
    monkeypatch.setattr("app.runners.routing.TELL_S", math.inf)
    net, mailbox = deepseek(), Mailbox()
    worker = loop.GpuWorker(mailbox, runners.runner, load=lambda *_a, **_k: net, expected_size=lambda key: 0)
    worker.post(commands.Submit(run_id=1, job=Routing(text=TEXT, max_new_tokens=6, device="cpu"), park_after=1))
    found = []
    for command in (None, commands.StepOn(run_id=1), commands.StepOn(run_id=1), commands.Resume(run_id=1)):
        if command is not None:
            worker.post(command)
        while worker.turn():
            pass
        found.append([len(one.tokens.ids) for one in records(mailbox.drain()[0], "pass")][-1])
    assert found == [1, 1, 1, 3]


def test_a_long_prompt_is_read_in_chunks_and_counted_once(look, tokenizer, monkeypatch):
    whole = told(look())
    monkeypatch.setattr("app.runners.routing_source.CHUNK", 7)
    parts = look()
    assert len(records(parts, "pass")) == -(-len(ids_of(tokenizer)) // 7)
    assert np.allclose([t["nats"] for t in told(parts)["tokens"]][1:], [t["nats"] for t in whole["tokens"]][1:], atol=1e-4)
    assert [[t["experts"] for t in layer["tokens"]] for layer in told(parts)["layers"]] == [
        [t["experts"] for t in layer["tokens"]] for layer in whole["layers"]
    ]


# --- sums ---------------------------------------------------------------------------------------------------


def test_balance_equals_a_count_by_numpy(look):
    events = look(max_new_tokens=9)
    table, (summary,) = told(events), records(events, "summary")
    for phase in ("all", "prompt", "generation"):
        kept = [n for n, token in enumerate(table["tokens"]) if phase in ("all", token["phase"])]
        for row, layer in enumerate(table["layers"]):
            load = np.bincount([e for n in kept for e in layer["tokens"][n]["experts"]], minlength=8)
            assert summary.phases[phase].load[row] == tuple(load)
            share, numbers = load / load.sum(), summary.phases[phase].layers[row]
            assert numbers.max_vio == pytest.approx(load.max() / load.mean() - 1)
            assert numbers.cv == pytest.approx(load.std() / load.mean()) and numbers.dead == (load == 0).sum()
            assert numbers.entropy == pytest.approx(-sum(p * math.log(p) for p in share if p) / math.log(8))
            assert table["balance"][phase]["layers"][row]["max_vio"] == numbers.max_vio
        assert summary.phases[phase].tokens == summary.phases[phase].chance_tokens == len(kept)
    assert summary.phases["all"].mean.max_vio == pytest.approx(np.mean([b.max_vio for b in summary.phases["all"].layers]))


def test_the_baseline_is_that_of_uniform_picks(look, tokenizer):
    """Against a simulation by numpy, within five of its standard errors (fixed seeds: no false alarms)."""
    (summary,) = records(look(), "summary")
    T, rng = len(ids_of(tokenizer)), np.random.default_rng(3)
    found = []
    for _ in range(400):
        load = np.bincount(np.concatenate([rng.permutation(8)[:3] for _ in range(T)]), minlength=8)
        found.append(load.max() / load.mean() - 1)
    assert abs(summary.phases["prompt"].chance.max_vio - np.mean(found)) < 5 * np.std(found) * math.sqrt(1 / 400 + 1 / 500)


def test_company_flow_and_touched_experts_by_hand(look):
    events = look(max_new_tokens=4)
    table, (summary,) = told(events), records(events, "summary")
    sets = [[set(token["experts"]) for token in layer["tokens"]] for layer in table["layers"]]
    T = len(sets[0])
    for row in range(2):
        for a in range(8):
            visits = sum(a in one for one in sets[row])
            assert summary.together_chance[row, a] == pytest.approx(visits / T)
            for b in range(8):
                both = sum(a in one and b in one for one in sets[row])
                assert summary.together[row, a, b] == pytest.approx(0 if a == b else both / max(visits, 1))
        for at, n in enumerate(summary.window):
            distinct = [len(set().union(*sets[row][t : t + n])) for t in range(T - n + 1)]
            assert summary.touched[row, at] == pytest.approx(np.mean(distinct))
    pairs = np.zeros((8, 8))
    for one, two in zip(*sets):
        for a in one:
            for b in two:
                pairs[a, b] += 1
    assert np.allclose(summary.flow[0], pairs / pairs.sum())
    assert summary.touched_chance[1] == pytest.approx(8 * (1 - (5 / 8) ** 2)) and summary.window[:2] == (1, 2)
    flips = [token["only_by_bias"] for layer in table["layers"] for token in layer["tokens"]]
    assert np.mean(summary.flipped) == pytest.approx(np.mean(flips)) and 0 < np.mean(flips) < 1


def test_choices_by_the_bias_alone_are_those_that_differ_without_it(look):
    """Counted in the first gated layer, whose inputs do not depend on the bias."""
    with_bias, without = (told(look(use_bias=use))["layers"][0]["tokens"] for use in (True, False))
    for own, plain in zip(with_bias, without):
        assert [e not in plain["experts"] for e in own["experts"]] == own["only_by_bias"]
        assert np.allclose(own["affinities"], plain["affinities"])


def test_live_summaries_know_their_baseline_is_near_by(look, monkeypatch, each):
    monkeypatch.setattr("app.runners.routing.SUMMARY_MS", 0)
    events = look(max_new_tokens=8)
    live = [event.payload for event in events if isinstance(event, Preview) and event.channel == "summary"]
    tables = [one.phases["all"] for one in live]
    assert {table.chance_tokens for table in tables} <= {30, 40, 50} and any(table.tokens != table.chance_tokens for table in tables)
    last = records(events, "summary")[0].phases["all"]
    assert last.chance_tokens == last.tokens


# --- steering -----------------------------------------------------------------------------------------------


def experts(table: dict, layer: int) -> list[list[int]]:
    return next([one["experts"] for one in found["tokens"]] for found in table["layers"] if found["layer"] == layer)


def test_an_expert_that_is_off_is_never_visited_and_a_forced_one_always(look):
    plain = told(look(max_new_tokens=8))
    favourite = int(np.bincount(np.concatenate(experts(plain, 1))).argmax())
    rare = int(np.bincount(np.concatenate(experts(plain, 2)), minlength=8).argmin())
    events = look(max_new_tokens=8, off=((1, favourite),), force=((2, rare),))
    table = told(events)
    assert any(favourite in one for one in experts(plain, 1)) and not any(favourite in one for one in experts(table, 1))
    assert not all(rare in one for one in experts(plain, 2)) and all(rare in one for one in experts(table, 2))
    assert done(events).facts["steered"] == [f"layer 1: expert {favourite} off", f"layer 2: expert {rare} forced"]
    assert "steered: layer 1" in done(events).facts["table"]


def test_removing_the_bias_equals_a_bias_of_zero(look):
    removed, zero = told(look(use_bias=False, max_new_tokens=6)), told(look(deepseek(bias=0.0), max_new_tokens=6))
    assert [t["id"] for t in removed["tokens"]] == [t["id"] for t in zero["tokens"]]
    for a, b in zip(removed["layers"], zero["layers"]):
        assert [one["experts"] for one in a["tokens"]] == [one["experts"] for one in b["tokens"]]
        assert np.allclose([one["weights"] for one in a["tokens"]], [one["weights"] for one in b["tokens"]])
    assert experts(removed, 1) != experts(told(look(max_new_tokens=0)), 1)[: len(experts(removed, 1))]


def test_another_k_and_all_experts(look):
    for k in (1, 5):
        table = told(look(experts_a_token=k))
        assert {len(one) for layer in (1, 2) for one in experts(table, layer)} == {k}
    assert done(look(experts_a_token=1)).facts["max_vio"] > 0


def test_capacity_turns_away_what_is_over_it(look):
    """Dropped = sum over experts of max(0, load - places), places = ceil(factor T / E), the whole text in one pass."""
    table = told(look(switch(), capacity_factor=0.5))
    T = len(table["tokens"])
    places = math.ceil(0.5 * T / 4)
    for layer in table["layers"]:
        load = np.bincount([one["experts"][0] for one in layer["tokens"]], minlength=4)
        turned = [one["dropped"][0] for one in layer["tokens"]]
        assert sum(turned) == np.maximum(load - places, 0).sum() > 0
        assert all((one["weights"][0] == 0) == one["dropped"][0] for one in layer["tokens"])
    assert not any(one["dropped"][0] for layer in told(look(switch()))["layers"] for one in layer["tokens"])


def test_drafted_tokens_change_no_text_but_more_experts_are_read(look):
    plain, drafted = look(max_new_tokens=40), look(max_new_tokens=40, draft_length=4)
    assert [t["id"] for t in told(plain)["tokens"]] == [t["id"] for t in told(drafted)["tokens"]]
    assert experts(told(plain), 2) == experts(told(drafted), 2)
    passes = [one for one in records(drafted, "pass") if one.phase == "generation"]
    read, touched = np.concatenate([one.read for one in passes]), np.concatenate([one.touched for one in passes], axis=1)[0]
    assert (read > 1).any() and touched[read > 1].max() > 3 == touched[read == 1].max()


def test_checks_of_drafts_are_added_up(look, monkeypatch):
    """Against the passes of the net itself: tokens each read and added to the text, and the experts it needed."""
    seen, inner = [], Looker.step

    def step(self, ids, cache, **how):
        found = inner(self, ids, cache, **how)
        seen.append((len(ids), [len(set(one.experts[one.live].tolist())) for _, one in sorted(self.trace.layers.items())]))
        return found

    monkeypatch.setattr(Looker, "step", step)
    events = look(max_new_tokens=40, draft_length=4)
    checks = records(events, "summary")[0].checks
    passes = seen[2:-1]  # but for the text and its last tokens once more, and the last token written, read so that it is routed
    several = [one for one in passes if one[0] > 1]
    assert checks.passes == len(several) > 3 and checks.read == pytest.approx(np.mean([read for read, _ in several]))
    assert checks.touched == pytest.approx(np.mean([touched for _, touched in several], axis=0).tolist()) and set(checks.alone) == {3.0}
    alone, written = len(passes) - len(several), sum(token["phase"] == "generation" for token in told(events)["tokens"])
    assert checks.kept * checks.passes + alone == pytest.approx(written)
    assert f"{checks.passes} checks of drafts" in done(events).facts["table"]
    assert told(events)["experts_touched"]["checks"]["kept"] == checks.kept
    assert records(look(max_new_tokens=8), "summary")[0].checks is None


def test_experts_of_groups_left_out_and_those_switched_off_are_barred(look, tokenizer):
    net = deepseek()
    (one,) = records(look(net, off=((2, 5),)), "pass")
    own = traced(net, ids_of(tokenizer), steer=Steering(off=frozenset({(2, 5)})))
    for row, (_, routing) in enumerate(sorted(own.layers.items())):
        assert (one.barred[row] == routing.scores[0].isneginf().numpy()).all()
    row = sorted(own.layers).index(2)
    assert one.barred[row, :, 5].all() and not one.barred.all(axis=2).any()
    groups = np.stack(np.split(one.barred, net.config.groups.count, axis=2)).all(axis=-1)  # (groups, L, T)
    assert (groups.sum(axis=0) == net.config.groups.count - net.config.groups.allowed).all()


# --- manners ------------------------------------------------------------------------------------------------


def test_equal_jobs_give_equal_results(look):
    for fields in ({"max_new_tokens": 8}, {"max_new_tokens": 8, "temperature": 1.0, "seed": 4}):
        first, second = look(**fields), look(**fields)
        assert str(told(first)) == str(told(second))
    other = told(look(max_new_tokens=8, temperature=1.0, seed=5))
    assert [t["id"] for t in other["tokens"]] != [t["id"] for t in told(first)["tokens"]]


def test_closing_at_every_yield_releases_all_pins_and_leaves_torch_alone(home, each):
    before, net = torch_state(), deepseek()
    for stop in range(1, 14):
        mailbox = Mailbox()
        worker = loop.GpuWorker(mailbox, runners.runner, load=lambda *_a, **_k: net, expected_size=lambda key: 0)
        worker.post(commands.Submit(run_id=1, job=Routing(text=TEXT, max_new_tokens=3, device="cpu")))
        for _ in range(stop):
            worker.turn()
        worker.post(commands.Cancel(run_id=1))
        while worker.turn():
            pass
        assert worker.zoo.pins() == 0 and torch_state() == before


@pytest.mark.parametrize(("fields", "words"), [
    ({"text": " \n"}, "no text to read"), ({"text": "fox " * 900}, "holds 400"), ({"off": ((0, 1),)}, "Layer 0 has no experts"),
    ({"off": ((1, 8),)}, "There is no expert 8"), ({"force": ((7, 1),)}, "Layer 7 has no experts"),
    ({"off": tuple((1, e) for e in range(8))}, "All 8 experts of layer 1 are switched off"),
    ({"force": tuple((1, e) for e in range(4))}, "4 experts of layer 1 are forced, and a token visits 3"),
    ({"off": ((1, 1),), "force": ((1, 1),)}, "cannot be switched off and forced"), ({"experts_a_token": 9}, "cannot visit 9 of 8"),
    ({"capacity_factor": 1.0}, "turns no token away"), ({"model": "nothing"}, "no model named 'nothing'"),
    ({"model": "moe:/nowhere"}, "There is no model at /nowhere"), ({"checkpoint": "/nowhere"}, "nowhere"),
])  # fmt: skip
def test_what_cannot_be_is_told_in_a_sentence(look, fields, words):
    failed = look(**fields)[-1]
    assert isinstance(failed, Failed) and failed.report.kind == "user" and words in failed.report.title, failed


def test_models_without_experts_or_bias_are_told(home, drive):
    failed = drive(Routing(text=TEXT, model=KEY, device="cpu"), models={KEY: tiny_language()})[-1]
    assert isinstance(failed, Failed) and "has no experts" in failed.report.title
    failed = drive(Routing(text=TEXT, use_bias=False, device="cpu"), models={KEY: switch()})[-1]
    assert isinstance(failed, Failed) and "no selection bias" in failed.report.title


def test_the_untrained_mixture_is_told_with_how_to_train_it(home, drive):
    (home / "weights" / f"{KEY}.safetensors").unlink()
    failed, facts = drive(Routing())[-1], done(drive(RoutingStatus())).facts
    assert isinstance(failed, Failed) and "has not been trained yet" in failed.report.title and "train-moe --install" in failed.report.hint
    assert facts["ready"] is False and "not been trained" in facts["sentence"] and facts["train"] in facts["hint"]


def test_status_of_what_is_there(home, drive):
    assert done(drive(RoutingStatus())).facts | {"checkpoints": [], "added": []} == {
        "ready": True, "title": "Mixture of experts", "sentence": "", "hint": "", "train": "python main.py run train-moe --install",
        "checkpoints": [], "added": [], "built_in": True,
    }  # fmt: skip
    assert done(drive(RoutingStatus(model="moe:/nowhere"))).facts["ready"] is False


def test_a_folder_of_a_published_family_is_looked_at(tmp_path, drive, monkeypatch):
    """Written by transformers' Mixtral, with a tokenizer of bytes; added to the models, as `moe:PATH` and as a chat would."""
    import transformers

    from tests.models.language.test_moe_parity import CASES
    from tests.models.language.tiny import write_tokenizer

    kind, sizes = CASES["mixtral"]
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.MixtralConfig(**{**sizes, "vocab_size": 320, "max_position_embeddings": 128})
    kind(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path, ["<|endoftext|>", "<|im_end|>"], bos_token="<|endoftext|>", eos_token="<|im_end|>")
    monkeypatch.setenv("GLASSBOX_MODELS", str(tmp_path / "models"))
    facts = done(drive(ImportModel(path=str(tmp_path), title="Mine"))).facts
    key, rows = facts["key"], done(drive(ListModels())).facts["models"]
    assert key == f"language:{tmp_path}" and done(drive(RoutingStatus())).facts["added"] == [{"key": key, "title": "Mine"}]
    assert [dict(row["facts"])["Experts"] for row in rows if row["key"] == key] == ["8 in a layer, 3 a token"]
    events = drive(Routing(text="hello wood", model=f"moe:{tmp_path}", max_new_tokens=3, device="cpu"))
    (opened,), table = records(events, "opened"), told(events)
    assert (opened.n_experts, opened.top_k, opened.gate, opened.has_bias, opened.number_format) == (8, 3, "softmax", False, "fp32")
    assert table["tokens"][0]["text"] == "<|endoftext|>" and len(table["layers"]) == 3
    loaded = catalog.load(f"language:{tmp_path}")
    ids = [token["id"] for token in table["tokens"]]
    own = traced(loaded.model, ids)
    assert experts(table, 2) == own.layers[2].experts[0].tolist() and loaded.held_bytes > 0
