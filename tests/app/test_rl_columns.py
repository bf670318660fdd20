"""What the reinforcement learning panel computes by itself: growing columns, setups in words, lines of plots. No worker, no model."""

from __future__ import annotations

import numpy as np
import pytest

from app.panels.rl import explain, metrics
from app.panels.rl.columns import Columns, Table
from app.panels.rl.setup_words import layers_text, read_layers, run_values, seeds_of
from app.panels.rl.training import Training
from app.panels.rl.trainings import COLOURS, group_of
from app.protocol.errors import UserError
from app.protocol.rl import parse_setup
from tests.app import rl_fakes as fakes


def test_columns_grow_and_leave_gaps():
    columns = Columns()
    columns.add([[("steps", n), ("a", n * 2.0)] if n % 2 else [("steps", n)] for n in range(1000)])
    columns.add([[("steps", 1000), ("late", 5.0)]])
    assert len(columns) == 1001 and list(columns["steps"]) == list(range(1001))
    assert columns["a"][7] == 14 and np.isnan(columns["a"][8]) and columns.last("a") == 1998
    assert np.isnan(columns["late"][:1000]).all() and columns.last("late") == 5
    assert np.isnan(columns["none"]).all() and len(columns["none"]) == 1001 and np.isnan(columns.last("none"))
    assert [columns.at("steps", value) for value in (-3, 0, 500.5, 9999)] == [0, 0, 500, 1000]


def test_columns_are_bounded_and_keep_both_ends():
    columns = Columns(most=100)
    for n in range(1000):
        columns.add([[("steps", n)]])
    assert len(columns) <= 100 and columns["steps"][0] == 0 and columns["steps"][-1] == 999
    assert (np.diff(columns["steps"]) > 0).all() and columns.thinned


def test_tables_are_bounded_and_keep_their_order():
    table = Table(3, most=50)
    for n in range(0, 1000, 10):
        table.add(np.stack([np.arange(n, n + 10.0)] * 3, 1))
    assert len(table) <= 50 and table.rows[-1, 0] == 999 and (np.diff(table.rows[:, 0]) > 0).all()


@pytest.mark.parametrize("text, seeds", [("0", [0]), ("0-2, 7", [0, 1, 2, 7]), ("3 3 3", [3]), ("5–6", [5, 6])])
def test_seeds_are_read(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "1.5", "-2", "0-10", "1-", "99999999999", "²"])
def test_what_is_no_seed_is_a_sentence(text):
    with pytest.raises(UserError):
        seeds_of(text)


def test_layers_are_read_and_written():
    assert read_layers("64, 32") == (64, 32) and read_layers("none") == () and layers_text((64, 32)) == "64, 32"
    assert read_layers(layers_text(())) == ()
    for text in ("0, 3", "a", "9999", "1 2 3 4 5 6 7"):
        with pytest.raises(UserError):
            read_layers(text)


def test_a_run_says_only_what_differs_from_the_preset():
    values = run_values(parse_setup("ppo CartPole-v1 lr=0.5 target_kl=0.1"), fakes.setup())
    assert values["lr"] == 0.5 and values["target_kl"] == 0.1 and values["clip_range"] == 0.2


def test_seeds_of_a_setup_are_one_group():
    one, two, other = (parse_setup(f"ppo CartPole-v1 seed={seed} lr={lr}") for seed, lr in ((0, 0.1), (4, 0.1), (0, 0.2)))
    assert group_of(one) == group_of(two) != group_of(other)


def test_every_algorithm_has_a_colour_six_plots_and_an_explanation():
    assert len(set(COLOURS.values())) == len(COLOURS)
    for algo in COLOURS:
        names = metrics.small_plots(algo)
        assert len(set(names)) == 6 and all(name in metrics.METRICS for name in names) and algo in explain.ALGORITHMS


def test_every_metric_is_explained_in_whole_sentences():
    for name, told in metrics.METRICS.items():
        assert told.title and told.what.endswith((".", "?")), name
        assert not told.healthy or told.healthy.endswith("."), name


def test_the_equation_has_the_numbers_in_use():
    assert "1 ± 0.3" in explain.equation("ppo", fakes.setup(clip_range=0.3))
    assert "σ = 0.1" in explain.equation("ddpg", fakes.setup("ddpg")) and explain.equation("other", fakes.setup()) == ""


@pytest.mark.parametrize(
    "returns, steps, words", [(500, 50_000, "early"), (100, 50_000, "50,000 steps left"), (100, 120_000, "late"), (500, 120_000, "there")]
)
def test_pace_against_the_published_result(qapp, returns, steps, words):
    training = Training(None, 1)
    training.setup = fakes.setup()
    training.metrics.add([[("steps", steps), (metrics.RETURN, returns)]])
    assert words in explain.pace(training)
