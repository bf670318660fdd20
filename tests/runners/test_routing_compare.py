"""Before and after, two texts, and who reads what: on tiny random mixtures, against counts made another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from app.jobs.routing import RoutingPair, RoutingSpecialisation, RoutingSteer
from app.protocol.events import Done, Failed, Preview
from app.runners.routing_specialisation import LEAST_DOCUMENTS
from models.language.mixture_data import documents
from models.language.routing import wilson
from tests.models.language.test_routing import routing
from tests.runners.test_routing import (  # noqa: F401 fixtures
    KEY,
    TEXT,
    deepseek,
    home,
    ids_of,
    look,
    switch,
    tokenizer,
    traced,
)


def report(events):
    assert isinstance(events[-1], Done), getattr(events[-1], "report", events[-1])
    return events[-1].result.files["report"]


# --- before and after ---------------------------------------------------------------------------------------


def test_steering_tells_both_sides(look, tokenizer):  # noqa: F811
    events = look(job=RoutingSteer, use_bias=False, off=((1, 2),), max_new_tokens=8)
    found, ids = report(events), ids_of(tokenizer)
    with torch.no_grad():
        net = deepseek()
        before = net.head(net(torch.tensor([ids])))[0].log_softmax(-1)
    nats = -before[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert found.before.perplexity == pytest.approx(float(nats.mean().exp()), rel=1e-4)
    assert found.before.perplexity != found.after.perplexity and found.divergence > 0
    assert found.before.next_tokens[0][1] == pytest.approx(float(before[-1].exp().max()), abs=1e-5)
    assert found.before.next_tokens[0][0] == tokenizer.token_text(int(before[-1].argmax()))
    own = traced(net, ids)
    assert found.before.table.load[0] == tuple(own.layers[1].counts().tolist())
    assert found.after.table.load[0][2] == 0 < found.before.table.load[0][2] and found.steered[0] == "layer 1: expert 2 off"
    assert found.before.visits == found.after.visits == 3 * 2 * len(ids) and found.places == len(ids)
    assert len(found.kept) == 2 and all(0 < share < 1 for share in found.kept)
    shown = [event.payload for event in events if isinstance(event, Preview) and event.channel == "before"]
    assert shown and shown[-1] == found.before.text and "perplexity of the text" in events[-1].result.facts["table"]


def test_what_changes_nothing_shows_nothing(look):  # noqa: F811
    """Asking for the model's own k is a change that changes nothing."""
    found = report(look(job=RoutingSteer, experts_a_token=3, max_new_tokens=5))
    assert found.divergence == pytest.approx(0, abs=1e-6) and found.changed == 0 and found.kept == (1.0, 1.0)
    assert found.before == found.after and found.before.text


def test_divergence_is_the_mean_over_places(look, tokenizer):  # noqa: F811
    found, ids = report(look(job=RoutingSteer, use_bias=False, max_new_tokens=0)), ids_of(tokenizer)
    with torch.no_grad():
        laws = [net.head(net(torch.tensor([ids])))[0].log_softmax(-1) for net in (deepseek(), deepseek(bias=0.0))]
    expected = torch.nn.functional.kl_div(laws[1], laws[0], log_target=True, reduction="batchmean")
    assert found.divergence == pytest.approx(float(expected), rel=1e-3)
    assert found.changed == int((laws[0].argmax(-1) != laws[1].argmax(-1)).sum()) and found.after.text == ""


def test_fewer_places_turn_more_away(look):  # noqa: F811
    found = report(look(switch(), job=RoutingSteer, capacity_factor=0.5, max_new_tokens=0))
    assert found.before.dropped == 0 < found.after.dropped


def test_steering_without_a_wish_is_told(look):  # noqa: F811
    failed = look(job=RoutingSteer)[-1]
    assert isinstance(failed, Failed) and "Nothing is changed" in failed.report.title


# --- two texts ----------------------------------------------------------------------------------------------


def test_two_texts_are_as_far_apart_as_their_loads(home, drive, tokenizer):  # noqa: F811
    other = "the hen and the hen and the hen"
    found = report(drive(RoutingPair(text=TEXT, other=other, device="cpu"), models={KEY: deepseek()}))
    for row, layer in enumerate((1, 2)):
        shares = []
        for text in (TEXT, other):
            load = np.bincount(traced(deepseek(), ids_of(tokenizer, text)).layers[layer].experts.flatten().numpy(), minlength=8)
            shares.append(load / load.sum())
        assert found.distance[row] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
        assert np.allclose(found.loads[1][row], shares[1]) and 0 < found.chance[row] < found.distance[row]
        assert 0 < found.p[row] <= 1
    assert found.tokens == (len(ids_of(tokenizer)), len(ids_of(tokenizer, other)))


def test_texts_of_another_kind_differ_more_than_shuffles(home, drive):  # noqa: F811
    found = report(drive(RoutingPair(text=TEXT * 3, other="7 7 7 7 7 " * 12, device="cpu"), models={KEY: deepseek()}))
    assert max(found.p) < 0.05 and min(np.subtract(found.distance, found.chance)) > 0


def test_a_text_is_as_far_from_itself_as_nothing(home, drive):  # noqa: F811
    found = report(drive(RoutingPair(text=TEXT, other=TEXT, device="cpu"), models={KEY: deepseek()}))
    assert found.distance == (0.0, 0.0) and found.p == (1.0, 1.0)


def test_chance_of_a_split_is_what_splitting_shows():
    """Tokens of one law in two texts: about a twentieth of such pairs is called significant at 0.05 (200 pairs, 4 deviations)."""
    from app.runners.routing_steer import distance_and_chance

    rng, noise, called = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), 0
    for _ in range(200):
        a, b = (routing(torch.randint(0, 6, (n, 1), generator=noise), 6) for n in (30, 50))
        distance, chance, p = distance_and_chance(a, b, 100, rng)
        assert 0 <= distance <= 1 and 0 < chance < 0.5
        called += p <= 0.05
    assert abs(called - 10) <= 4 * math.sqrt(200 * 0.05 * 0.95)


def test_shuffles_keep_the_length_of_each_text():
    """One token against three: whichever of the four stands alone, the loads differ by two thirds."""
    from app.runners.routing_steer import distance_and_chance

    a, b = routing([[0]], 4), routing([[0], [1], [1]], 4)
    distance, chance, p = distance_and_chance(a, b, 50, torch.Generator().manual_seed(0))
    assert (distance, chance, p) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0)


@pytest.mark.parametrize("other", ["", "   "])
def test_an_empty_other_text_is_told(home, drive, other):  # noqa: F811
    failed = drive(RoutingPair(text=TEXT, other=other, device="cpu"), models={KEY: deepseek()})[-1]
    assert isinstance(failed, Failed) and "no text to read" in failed.report.title


# --- who reads what -----------------------------------------------------------------------------------------


@pytest.fixture
def measured(home, drive, tmp_path):  # noqa: F811
    library = tmp_path / "library"
    library.mkdir()
    for n in range(160):
        (library / f"m{n}.py").write_text(f"# module {n}\n" + f"def f{n}(a, b):\n    return a + b * {n}\n\n" * 8)

    def run(**fields):
        job = RoutingSpecialisation(**{"library": str(library), "tokens": 600, "window": 32, "vocabulary": 6, "device": "cpu", **fields})
        return drive(job, models={KEY: deepseek()})

    return run


def test_shares_of_a_domain_are_counted_from_its_tokens(measured, tokenizer):  # noqa: F811
    result = measured()[-1].result
    table = result.files["domains"]
    assert table.labels == ("python", "arithmetic", "captions") and table.chance == 3 / 8 and table.layers == (1, 2)
    from app.runners.moe import sources

    found = sources(RoutingSpecialisation())
    visits, tokens, texts = np.zeros(8), 0, 0
    for text in documents("arithmetic", True, found, 100):
        ids = ids_of(tokenizer, text)
        for at in (0, 32):
            row = ids[at : at + 33]
            if len(row) < 2:
                continue
            seen = traced(deepseek(), row[:-1]).layers[2].experts
            visits += np.bincount(seen.flatten().numpy(), minlength=8)
            tokens += len(row) - 1
        texts += 1
        if tokens >= 600:
            break
    assert table.tokens[1] == tokens and table.documents[1] == texts
    assert np.allclose(table.share[1, 1], visits / tokens, atol=1e-6)
    assert (table.low <= table.share + 1e-6).all() and (table.share <= table.high + 1e-6).all()
    assert result.facts["tokens"] == sum(table.tokens) and "chance 0.375" in result.facts["table"]


def test_intervals_come_from_the_spread_between_documents(measured):
    """Tokens of one document are alike: intervals are never narrower than those of as many independent tokens, and often wider."""
    table = measured()[-1].result.files["domains"]
    share, n = torch.tensor(table.share).double(), torch.tensor(table.tokens).double()[None, :, None].expand(table.share.shape)
    low, high = wilson(share, n, 0.95)
    wide = (table.high - table.low) / (high - low).numpy()
    assert wide.min() > 0.999 and np.median(wide) > 1.1


def test_frequent_tokens_are_rows_of_their_own(measured):
    table = measured()[-1].result.files["tokens"]
    assert len(table.labels) == 6 and list(table.tokens) == sorted(table.tokens, reverse=True)
    assert np.allclose(table.share.sum(axis=2), 3, atol=1e-5), "each token visits three experts"
    domains = measured()[-1].result.files["domains"]
    assert sum(table.tokens) < sum(domains.tokens) and all(table.documents)
    together = np.tensordot(domains.tokens, domains.share[0], 1)
    assert (np.tensordot(table.tokens, table.share[0], 1) <= together + 1e-3).all()


def test_few_documents_say_nothing(measured):
    table = measured(tokens=200, window=64).pop().result.files["domains"]
    few = [label for label, count in enumerate(table.documents) if count < LEAST_DOCUMENTS]
    assert few and not any(table.speaks(row, label, e) for label in few for row in range(2) for e in range(8))
    enough = measured(tokens=1500)[-1].result.files["domains"]
    assert min(enough.documents) >= LEAST_DOCUMENTS
    speaks = [enough.speaks(row, label, e) for label in range(3) for row in range(2) for e in range(8)]
    inside = (enough.low <= enough.chance) & (enough.chance <= enough.high)
    assert any(speaks) and speaks == [not inside[row, label, e] for label in range(3) for row in range(2) for e in range(8)]


def test_a_library_that_is_not_there_is_told(measured):
    failed = measured(library="/nowhere/at/all")[-1]
    assert isinstance(failed, Failed) and "There is no folder" in failed.report.title
