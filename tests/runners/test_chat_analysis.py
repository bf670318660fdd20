"""Closer looks at finished replies, on a tiny random LLaMA: stamp, plain run, gamma curve, logit lens."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from app.jobs.chat import Chat, GammaCurve, LogitLens, LosslessStamp, MeasurePlain
from app.protocol.events import Done, Failed, Record
from app.runners.chat_analysis import Dictated
from tests.runners.tiny_language import tiny_language

KEY = "smollm2"


def result(events):
    last = events[-1]
    assert isinstance(last, Done), getattr(last, "report", last)
    return last.result


def refused(events):
    last = events[-1]
    assert isinstance(last, Failed) and last.report.kind == "user", last
    return last.report.title


@pytest.fixture
def language():
    return tiny_language()


@pytest.fixture
def run(drive, language):
    return partial(drive, models={KEY: language})


@pytest.fixture
def reply(run):
    """Facts of a greedy chat of 60 tokens."""
    chat = Chat(prompt="ab ab ab", drafter="lookup", draft_length=4, max_new_tokens=60, device="cpu", measure=False)
    return result(run(chat)).facts


def ids(facts):
    return {"prompt_ids": tuple(facts["prompt_ids"]), "reply_ids": tuple(facts["token_ids"]), "device": "cpu"}


def test_the_stamp_finds_exactly_the_tokens_that_are_wrong(run, reply):
    good = result(run(LosslessStamp(**ids(reply)))).facts
    assert good["ok"] and good["checked"] == 60 and good["mismatches"] == [] and "60" in good["sentence"]
    texts = ids(reply)
    wrong = list(texts["reply_ids"])
    wrong[-1] = (wrong[-1] + 1) % 256
    bad = result(run(LosslessStamp(**(texts | {"reply_ids": tuple(wrong)})))).facts
    assert not bad["ok"] and bad["mismatch_count"] == 1 and bad["largest_gap"] > 0
    found = bad["mismatches"][0]
    assert found["position"] == 59 and found["id"] == wrong[-1] and found["best_id"] == texts["reply_ids"][-1]


def test_the_stamp_knows_the_repetition_penalty(run):
    chat = Chat(prompt="ab ab ab", drafter="none", repetition_penalty=1.5, max_new_tokens=40, device="cpu", measure=False)
    facts = result(run(chat)).facts
    assert result(run(LosslessStamp(**ids(facts), repetition_penalty=1.5))).facts["ok"]
    assert not result(run(LosslessStamp(**ids(facts)))).facts["ok"]


def test_a_dictated_net_says_the_given_text_whatever_it_thinks(language):
    text = [1, 2, 3, 200, 100, 50]
    net = Dictated(language.model, text)
    cache = net.new_cache(10)
    net.step(torch.tensor(text[:2]), cache, last_only=True)
    said = [int(net.step(torch.tensor([text[place]]), cache)[0][-1].argmax()) for place in (2, 3, 4)]
    assert said == text[3:]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_plain_run_takes_one_pass_a_token_of_the_same_text(run, reply, temperature):
    events = run(MeasurePlain(**ids(reply), temperature=temperature))
    facts = result(events).facts
    assert facts["tokens"] == 60 and facts["tokens_per_s"] == pytest.approx(60 / facts["seconds"])


def test_the_gamma_curve_is_what_runs_of_every_draft_length_give(run, reply):
    done = result(run(GammaCurve(**ids(reply), drafter="lookup", max_length=5)))
    report = done.files["report"]
    assert [point.draft_length for point in report.points] == list(range(6)) and report.exact
    assert report.points[0].speedup == pytest.approx(1.0) and report.points[0].tokens_per_round == 1.0
    for length in (1, 3, 5):
        chat = Chat(prompt="ab ab ab", drafter="lookup", draft_length=length, max_new_tokens=60, device="cpu", measure=False)
        rounds = result(run(chat)).facts["counters"]["rounds"]
        assert report.points[length].tokens_per_round == pytest.approx(60 / rounds)
    assert report.best == max(range(6), key=lambda length: report.points[length].tokens_per_s)
    assert len(report.verify_s) == 6 and len(report.draft_s) == 5 and report.plain_s == report.verify_s[0]
    assert list(done.files["curve.csv"].x) == list(range(6))


def test_the_rest_of_a_round_is_in_the_curve_and_in_the_plain_line(run, reply):
    report = result(run(GammaCurve(**ids(reply), drafter="lookup", max_length=3, other_s=0.2))).files["report"]
    assert report.plain_s == pytest.approx(report.verify_s[0] + 0.2)
    assert report.points[0].tokens_per_s == pytest.approx(1 / report.plain_s) and report.points[0].speedup == pytest.approx(1.0)
    assert all(point.tokens_per_s < point.tokens_per_round / 0.2 for point in report.points)


def test_early_exit_has_a_gamma_curve_and_plain_decoding_has_none(run, reply):
    report = result(run(GammaCurve(**ids(reply), drafter="early-exit", max_length=2))).files["report"]
    chat = Chat(prompt="ab ab ab", drafter="early-exit", draft_length=2, max_new_tokens=60, device="cpu", measure=False)
    assert report.points[2].tokens_per_round == pytest.approx(60 / result(run(chat)).facts["counters"]["rounds"])
    assert "needs a drafter" in refused(run(GammaCurve(**ids(reply), drafter="none")))


def test_the_last_layer_of_the_lens_is_the_model_itself(run, reply):
    events = run(Chat(prompt="ab ab ab", drafter="none", max_new_tokens=5, device="cpu", measure=False))
    told = [event.payload for event in events if isinstance(event, Record) and event.channel == "round"]
    text = (*reply["prompt_ids"], *result(events).facts["token_ids"])
    place = len(reply["prompt_ids"]) + 1
    done = result(run(LogitLens(ids=text, position=place, top=3, device="cpu")))
    rows = done.files["rows"]
    assert [row.layer for row in rows] == [0, 1, 2, 3]
    token = told[2].tokens[0]
    assert rows[-1].rank_next == 0 and rows[-1].p_next == pytest.approx(token.p_raw, abs=1e-4)
    assert [other.id for other in rows[-1].top] == [other.id for other in token.top[:3]]
    assert rows[-1].entropy == pytest.approx(token.entropy, abs=1e-3) and done.facts["next"] == token.text


def test_the_lens_at_the_end_of_a_text_knows_no_next_token(run, reply):
    rows = result(run(LogitLens(ids=tuple(reply["prompt_ids"]), device="cpu"))).files["rows"]
    assert {row.rank_next for row in rows} == {-1} and rows[-1].top[0].id == reply["token_ids"][0]


@pytest.mark.parametrize("kind", [LosslessStamp, MeasurePlain, GammaCurve])
def test_no_reply_and_foreign_tokens_are_refused(run, kind):
    assert "no reply" in refused(run(kind(device="cpu")))
    assert "does not know" in refused(run(kind(prompt_ids=(1,), reply_ids=(5000,), device="cpu")))
    assert "holds" in refused(run(kind(prompt_ids=(1,) * 500, reply_ids=(5,), device="cpu")))


def test_the_lens_refuses_places_that_are_not_there(run):
    assert "no text" in refused(run(LogitLens(device="cpu")))
    assert "no place 9" in refused(run(LogitLens(ids=(1, 2), position=9, device="cpu")))
