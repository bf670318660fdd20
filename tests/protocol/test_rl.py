"""A run's whole setup as one string, both ways."""

from __future__ import annotations

import pytest

from app.protocol.errors import UserError
from app.protocol.rl import RunSetup, parse_settings, parse_setup, settings_text, setup_text


def test_a_setup_is_one_string_both_ways() -> None:
    text = "ppo CartPole-v1 seed=3 total=100000 n_envs=8 hidden=64,32 backend=gymnasium lr=0.001 clip_range_vf=none normalize_advantage=yes"
    setup = parse_setup(text)
    assert setup == RunSetup(
        "ppo", "CartPole-v1", seed=3, total=100_000, n_envs=8, hidden=(64, 32), backend="gymnasium",
        settings="lr=0.001 clip_range_vf=none normalize_advantage=yes",
    )  # fmt: skip
    assert setup_text(setup) == text
    assert parse_setup("  ddpg   Pendulum-v1 ") == RunSetup("ddpg", "Pendulum-v1")
    assert setup_text(RunSetup("ddpg", "Pendulum-v1")) == "ddpg Pendulum-v1 seed=0"


def test_settings_keep_their_kind() -> None:
    values = {"lr": 3e-4, "n_steps": 128, "target_kl": None, "normalize_advantage": False}
    assert parse_settings(settings_text(values)) == values
    assert isinstance(parse_settings("n_steps=128")["n_steps"], int)
    assert parse_settings("") == {} and parse_settings("lr=1e-3, gamma=0.9") == {"lr": 1e-3, "gamma": 0.9}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with an algorithm and an environment"),
        ("ppo", "begins with an algorithm and an environment"),
        ("ppo lr=1", "begins with an algorithm and an environment"),
        ("ppo CartPole-v1 lr", "not a name and a value"),
        ("ppo CartPole-v1 lr=", "not a name and a value"),
        ("ppo CartPole-v1 lr=fast", "lr must be a number"),
        ("ppo CartPole-v1 lr=nan", "not a finite number"),
        ("ppo CartPole-v1 lr=1e999", "not a finite number"),
        ("ppo CartPole-v1 seed=-1", "seed must be a whole number"),
        ("ppo CartPole-v1 hidden=64,,64", "hidden must be a whole number"),
        ("ppo CartPole-v1 lr=1 lr=2", "given twice"),
        ("ppo CartPole-v1 backend=cloud", "no backend"),
        ("ppo CartPole-v1 " + "x" * 5000, "begins with an algorithm and an environment"),
    ],
)
def test_what_is_no_setup_gets_a_sentence(text, words) -> None:
    with pytest.raises(UserError, match=words) as error:
        parse_setup(text)
    assert error.value.hint


def test_what_belongs_to_the_run_is_no_setting() -> None:
    with pytest.raises(UserError, match="seed is not a setting"):
        parse_settings("seed=3")
