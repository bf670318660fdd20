"""Lamps say what is wrong, and nothing when nothing is known."""

import math

import pytest

from models.rl.healthy import lamps


def rows(count=20, **metrics):
    return [{name.replace("__", "/"): value for name, value in metrics.items()} for _ in range(count)]


def lamp(name, history, **facts):
    return next(each for each in lamps(history, **({"progress": 0.5} | facts)) if each.name == name)


@pytest.mark.parametrize(("name", "metrics", "facts", "verdict", "words"), [
    ("KL", {"train__approx_kl": 0.008}, {}, "good", "0.0080"),
    ("KL", {"train__approx_kl": 0.05}, {}, "watch", "0.050"),
    ("KL", {"train__approx_kl": 0.3}, {}, "bad", "lower the rate"),
    ("KL", {"train__approx_kl": math.nan}, {}, "bad", "not a number"),
    ("KL", {"train__kl_divergence_loss": 0.009}, {}, "good", "small"),
    ("KL", {}, {}, "off", "not measure"),
    ("Critic", {"train__explained_variance": -0.4}, {}, "bad", "below 0"),
    ("Critic", {"train__explained_variance": -0.4}, {"progress": 0.01}, "watch", "yet"),
    ("Critic", {"train__explained_variance": 0.9}, {}, "good", "90%"),
    ("Critic", {"train__explained_variance": math.nan}, {}, "off", "equal"),
    ("Exploration", {"train__entropy_loss": -0.005}, {"max_entropy": math.log(2)}, "bad", "gone"),
    ("Exploration", {"train__entropy_loss": -0.6}, {"max_entropy": math.log(2)}, "good", "87%"),
    ("Exploration", {"train__entropy_loss": 1.0, "train__std": 0.02}, {"half_range": 2.0}, "bad", "gone"),
    ("Exploration", {}, {}, "off", "outside"),
    ("Clipping", {"train__clip_fraction": 0.7}, {}, "bad", "70%"),
    ("Clipping", {"train__clip_fraction": 0.1}, {}, "good", "10%"),
    ("Signal", {}, {"advantage_std": 0.0}, "bad", "alike"),
    ("Signal", {}, {"advantage_std": 1.2}, "good", "1.2"),
    ("Signal", {}, {"advantage_std": math.nan}, "bad", "not numbers"),
])  # fmt: skip
def test_each_lamp(name, metrics, facts, verdict, words):
    found = lamp(name, rows(**metrics), **facts)
    assert found.verdict == verdict and words in found.sentence and found.sentence.endswith(".")


@pytest.mark.parametrize(("returns", "verdict", "words"), [
    ([20 + 10 * i for i in range(20)], "good", "20.0 to 210.0"),
    ([20] * 20, "watch", "no progress"),
    ([20, 100, 300, 480, 470, 300, 100, 40], "bad", "fallen from 480.0 to 40.0"),
    ([20, 480, 490, 490, 490], "good", "Solved"),
    ([20, 30], "off", "Too few"),
    ([20, 30, 40, math.nan, 20], "bad", "not a number"),
    ([-1500 + 60 * i for i in range(20)], "good", "-1500.0"),
])  # fmt: skip
def test_the_return(returns, verdict, words):
    history = [{"rollout/ep_rew_mean": float(value)} for value in returns]
    found = lamp("Return", history, solved_at=475.0)
    assert found.verdict == verdict and words in found.sentence


def test_only_the_recent_counts():
    assert lamp("KL", rows(50, train__approx_kl=0.5) + rows(10, train__approx_kl=0.01)).verdict == "good"
