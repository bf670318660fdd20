"""The job train-rl: every algorithm, live knobs, pause and steps, autosave and resume, what is watched, and bad input."""

from __future__ import annotations

import csv
import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors

from app.jobs.rl import TrainRl
from app.protocol import rl
from app.protocol.errors import UserError
from app.protocol.events import Cancelled, Done, Parked, Progress, Step
from app.runners import rl as runner
from app.runners import rl_folder
from models.rl import buffers, run, snapshots
from models.rl.errors import RLError
from tests.runners.rl_hand import QUICK, Hand, folder_of, quick, sentence, told

SB3 = {
    "ppo": {"approx_kl", "clip_fraction", "clip_range", "entropy_loss", "explained_variance", "learning_rate", "loss", "n_updates",
            "policy_gradient_loss", "value_loss"},
    "a2c": {"entropy_loss", "explained_variance", "learning_rate", "n_updates", "policy_loss", "value_loss"},
    "trpo": {"explained_variance", "is_line_search_success", "kl_divergence_loss", "learning_rate", "n_updates", "policy_objective",
             "value_loss"},
    "ddpg": {"actor_loss", "critic_loss", "learning_rate", "n_updates"},
}  # fmt: skip
"""Names that stable-baselines3 (sb3-contrib for TRPO) logs under train/."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("algo", QUICK)
def test_every_algorithm_trains_and_leaves_its_files(algo, drive) -> None:
    seen = drive(quick(algo))
    assert isinstance(seen[-1], Done), seen[-1]
    result, folder = seen[-1].result, folder_of(seen)
    facts = result.facts
    assert math.isfinite(facts["eval/mean_reward"]) and facts["eval/std_reward"] >= 0 and facts["steps_per_second"] > 0
    assert facts["timesteps"] >= quick(algo).total_timesteps and facts["settings"]["gamma"] > 0
    rows = list(csv.DictReader(result.files["metrics.csv"].splitlines()))
    assert int(rows[-1]["time/total_timesteps"]) == facts["timesteps"] and len(rows) == facts["updates"]
    names = {name.removeprefix("train/") for name in rows[0] if name.startswith("train/")}
    assert SB3.get(algo, {"learning_rate"}) <= names
    assert set(load_tensors(result.files["policy.safetensors"])) and (folder / "checkpoint.safetensors").is_file()
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    assert [e for e in seen if isinstance(e, Step)][-1].index == facts["updates"]
    assert {card.state for card in told(seen, "card")} == {"running", "finished"}


def test_metrics_and_episodes_agree_with_the_files(drive) -> None:
    seen = drive(quick("ppo", total_timesteps=1024))
    rows = [row for part in told(seen, "metrics") for row in part]
    table = list(csv.DictReader(seen[-1].result.files["metrics.csv"].splitlines()))
    assert [row.timesteps for row in rows] == [int(row["time/total_timesteps"]) for row in table] == list(range(128, 1025, 128))
    for name, value in rows[-1].metrics:
        if name not in ("time/total_timesteps", "time/fps"):
            assert float(table[-1][name]) == pytest.approx(value, rel=1e-6, nan_ok=True), name
    episodes = np.concatenate([part.table for part in told(seen, "episodes")])
    assert len(episodes) > 10 and (episodes[:, 1] == episodes[:, 2]).all()  # CartPole: a step is worth 1
    assert np.diff(episodes[:, 0]).min() >= 0
    written = list(csv.reader(seen[-1].result.files["episodes.csv"].splitlines()))[1:]
    assert [[float(cell) for cell in row] for row in written] == episodes.tolist()
    assert float(table[-1]["rollout/ep_rew_mean"]) == pytest.approx(episodes[-100:, 1].mean(), rel=1e-6)


def test_equal_jobs_give_equal_runs_and_other_seeds_others(drive) -> None:
    def weights(job) -> bytes:
        return drive(job)[-1].result.files["policy.safetensors"]

    assert weights(quick()) == weights(quick())
    assert weights(quick(seed=1)) != weights(quick())


def test_a_whole_setup_in_one_string_is_the_same_run(drive) -> None:
    seen = drive(quick(seed=5))
    text = seen[-1].result.facts["setup"]
    again = drive(TrainRl(setup=text, eval_every=-1, eval_episodes=2))
    assert again[-1].result.files["policy.safetensors"] == seen[-1].result.files["policy.safetensors"]
    assert again[-1].result.facts["setup"] == text == told(again, "setup")[0].text


# --- live ---


def test_a_knob_turned_in_the_run_counts_from_the_next_update_and_is_marked() -> None:
    hand = Hand(quick(), park_after=1)
    assert isinstance(hand.turn()[-1], Parked)
    hand.tune(settings=f"{QUICK['ppo'][1]} lr=0.005 lr_decay=0")
    fresh = hand.step()
    (row,) = told(fresh, "metrics")[-1]
    assert row.get("train/learning_rate") == 0.005
    changes = {change.name: change for change in told(fresh, "change")}
    assert changes["lr"] == rl.RlChange(128, "lr", 1e-3, 0.005) and set(changes) == {"lr", "lr_decay"}
    assert told(fresh, "setup")[-1].setting("lr").value == 0.005
    hand.cancel()
    assert "lr,0.001,0.005" in (folder_of(hand.seen) / "changes.csv").read_text()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("lr=-1", "lr is -1"), ("batch_size=100000", "larger than the rollout"), ("speed=3", "no setting speed"),
        ("n_epochs=1.5", "whole number"),
    ],
)  # fmt: skip
def test_a_bad_knob_is_refused_and_the_run_goes_on(settings, words) -> None:
    hand = Hand(quick(), park_after=1)
    hand.turn()
    hand.tune(settings=settings)
    fresh = hand.step()
    assert words in told(fresh, "refused")[0] and not told(fresh, "change")
    assert told(fresh, "metrics") and isinstance(fresh[-1], Parked)
    hand.cancel()


def test_the_buffer_cannot_change_in_the_run() -> None:
    hand = Hand(quick("ddpg"), park_after=1)
    hand.turn()
    hand.tune(settings="learning_starts=20 batch_size=16 buffer_size=900")
    assert "buffer_size cannot change during a run" in told(hand.step(), "refused")[0]
    hand.cancel()


def test_one_update_tells_everything_before_it_stands_still() -> None:
    hand = Hand(quick("ppo"), park_after=1)
    hand.turn()
    for index in (2, 3):
        fresh = hand.step()
        assert [e.index for e in fresh if isinstance(e, Step)] == [index]
        (rows,) = told(fresh, "metrics")
        assert [row.update for row in rows] == [index]
        for channel in ("agent", "plane", "inside", "lamps"):
            assert told(fresh, channel), channel
    hand.cancel()


# --- what is watched ---


@pytest.mark.parametrize("algo", ["ppo", "trpo", "ddpg", "qac", "deterministic-ac"])
def test_watching_shows_the_run_and_does_not_change_it(algo, drive, monkeypatch) -> None:
    monkeypatch.setattr(runner, "SHARE", 0)
    monkeypatch.setattr(runner, "FRAME_S", 0.0)
    monkeypatch.setattr(runner, "MAP_S", 0.0)
    seen = drive(quick(algo))
    unwatched = drive(quick(algo), previews=False)
    assert seen[-1].result.files["policy.safetensors"] == unwatched[-1].result.files["policy.safetensors"]
    assert not told(unwatched, "agent") and len(told(seen, "agent")) > 3
    frame, plane = told(seen, "agent")[-1], told(seen, "plane")[-1]
    assert frame.env == QUICK[algo][0] and frame.facts and frame.pixels is None and frame.value is not None
    assert frame.probabilities == () or sum(frame.probabilities) == pytest.approx(1, abs=1e-5)
    assert plane.timesteps <= seen[-1].result.facts["timesteps"]
    kinds = {"ppo": {rl.RatioView}, "trpo": {rl.LineSearchView}, "deterministic-ac": {rl.QSurfaceView}}
    kinds["ddpg"] = {rl.QSurfaceView, rl.NoiseView}
    inside = told(seen, "inside")
    assert ({type(view) for view in inside[-1]} if inside else set()) == kinds.get(algo, set())


def test_switched_off_nothing_is_shown() -> None:
    hand = Hand(quick(watch=False), park_after=1)
    hand.turn()
    assert not told(hand.seen, "agent") and not told(hand.seen, "plane")
    hand.tune(watch=True)
    assert told(hand.step(), "agent")
    hand.cancel()


def test_the_picture_of_a_line_search_agrees_with_its_trials() -> None:
    hand = Hand(quick("trpo"), park_after=1)
    hand.turn()
    hand.step()
    view = told(hand.seen, "inside")[-1][0]
    hand.cancel()
    assert view.accepted >= 0 and view.kl[view.accepted] <= view.delta and view.gain[view.accepted] > 0
    at = view.fractions[view.accepted]
    assert np.interp(at, view.along, view.along_kl) == pytest.approx(view.kl[view.accepted], rel=0.05)
    land = view.landscape
    row, column = np.abs(land.at).argmin(), np.abs(land.at - 1).argmin()
    assert abs(land.at[column] - 1) < 1e-6 and abs(land.at[row]) < 1e-6
    assert land.kl[row, column] == pytest.approx(float(np.interp(1.0, view.along, view.along_kl)), rel=1e-3)  # (1, 0) is the full step
    assert land.gain[row, column] == pytest.approx(float(np.interp(1.0, view.along, view.along_gain)), rel=1e-3)
    assert np.hypot(*land.plain) == pytest.approx(1) and land.plain_gain < view.gain[0]  # the plain gradient is no better


def test_the_ratio_histogram_counts_the_last_epoch(drive, monkeypatch) -> None:
    monkeypatch.setattr(runner, "MAP_S", 0.0)
    view = told(drive(quick()), "inside")[-1][0]
    assert view.counts.sum() == 128 and len(view.edges) == len(view.counts) + 1
    assert 0 <= view.outside <= 1 and view.clip_range > 0


def test_a_critic_of_actions_is_compared_with_what_really_came(drive) -> None:
    seen = drive(quick("ddpg"))
    row = told(seen, "eval")[-1]
    assert row.get("eval/q_obtained") < 0 and math.isfinite(row.get("eval/q_predicted"))
    assert row.get("eval/q_obtained") > row.get("eval/mean_reward")  # discounted costs are smaller


def test_the_grid_shows_every_cell(drive) -> None:
    view = told(drive(quick("qac")), "plane")[-1]
    assert view.values.shape == (5, 5) and view.probabilities.sum(-1) == pytest.approx(1, abs=1e-5)
    assert view.rows[0] == "S...." and view.optimal[0, 0] > 0 and len(view.action_names) == 4


# --- saved, stopped, resumed ---


def test_stopped_and_resumed_it_ends_where_it_would_have(drive) -> None:
    whole = drive(quick(total_timesteps=768))[-1].result
    hand = Hand(quick(total_timesteps=768), park_after=2)
    hand.turn()
    assert isinstance(hand.cancel()[-1], Cancelled)
    folder = folder_of(hand.seen)
    card = rl_folder.opened(folder).card()
    assert (card.state, card.timesteps) == ("stopped", 256)
    again = drive(TrainRl(resume=folder.name, eval_every=-1, eval_episodes=2))
    assert again[-1].result.files["policy.safetensors"] == whole.files["policy.safetensors"]
    kept = [row["time/total_timesteps"] for row in csv.DictReader(again[-1].result.files["metrics.csv"].splitlines())]
    assert kept == [row["time/total_timesteps"] for row in csv.DictReader(whole.files["metrics.csv"].splitlines())]
    assert again[-1].result.files["episodes.csv"] == whole.files["episodes.csv"]


def saved(folder) -> int:
    """Environment steps of the checkpoint on the disk."""
    return snapshots.load(folder / rl_folder.CHECKPOINT).facts["timesteps"]


def test_stopping_saves_what_no_autosave_has_saved(monkeypatch) -> None:
    monkeypatch.setattr(runner, "SAVE_S", 1e9)  # but for those at the beginning
    hand = Hand(quick(total_timesteps=768), park_after=3)
    hand.turn()
    folder = folder_of(hand.seen)
    assert saved(folder) < 384
    hand.cancel()
    assert saved(folder) == 384 == rl_folder.opened(folder).card().timesteps


def test_stopped_within_an_update_a_run_is_saved_as_it_was_before_it(drive, monkeypatch) -> None:
    whole = drive(quick(total_timesteps=768))[-1].result
    monkeypatch.setattr(runner, "SAVE_S", 1e9)
    monkeypatch.setattr(runner, "REPORT_S", 1e9)  # no row is told before it is stopped
    monkeypatch.setattr(runner, "KEEP_S", 0.0)
    monkeypatch.setattr(runner, "YIELD_S", 0.0)
    monkeypatch.setattr(run, "TICK_S", 0.0)  # a sign of life after every environment step
    hand = Hand(quick(total_timesteps=768, watch=False))  # no pictures between the signs of life
    while sum(isinstance(event, Step) for event in hand.seen) < 3:
        hand.turn(1)
    hand.turn(5)
    assert isinstance(hand.seen[-1], Progress)  # in the middle of the fourth
    folder = folder_of(hand.seen)
    hand.cancel()
    assert saved(folder) == 384
    again = drive(TrainRl(resume=folder.name, eval_every=-1, eval_episodes=2))[-1].result
    assert again.files["policy.safetensors"] == whole.files["policy.safetensors"]
    assert [row.timesteps for row in rl_folder.rows_of(rl_folder.opened(folder).metrics)] == list(range(128, 769, 128))
    assert again.files["episodes.csv"] == whole.files["episodes.csv"]


def test_stopped_before_its_first_update_ddpg_keeps_what_it_has_gathered(drive, monkeypatch) -> None:
    job = quick("ddpg", settings="learning_starts=40 batch_size=16 buffer_size=500")
    whole = drive(job)[-1].result
    monkeypatch.setattr(runner, "YIELD_S", 0.0)
    monkeypatch.setattr(run, "TICK_S", 0.0)
    hand = Hand(job)
    while "20 of 60" not in str(getattr(hand.seen[-1] if hand.seen else None, "note", "")):
        hand.turn(1)
    folder = folder_of(hand.seen)
    hand.cancel()
    assert 20 <= saved(folder) < 40
    again = drive(TrainRl(resume=folder.name, eval_every=-1, eval_episodes=2))[-1].result
    assert again.files["policy.safetensors"] == whole.files["policy.safetensors"]


def test_after_a_crash_rows_behind_the_checkpoint_are_cut_and_the_run_goes_on(drive, monkeypatch) -> None:
    monkeypatch.setattr(runner, "REPORT_S", 0.0)
    monkeypatch.setattr(runner, "SAVE_S", 1e9)
    hand = Hand(quick(total_timesteps=768), park_after=3)
    hand.turn()
    folder = folder_of(hand.seen)
    copy = folder.with_name("crashed")  # what lies on the disk now is what a crash would leave
    copy.mkdir()
    for file in folder.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(folder)).parent.mkdir(exist_ok=True)
            (copy / file.relative_to(folder)).write_bytes(file.read_bytes())
    with open(copy / "metrics.csv", "a") as file:
        file.write("4,51")  # half a line
    assert rl_folder.opened(folder).card().state == "running"
    hand.cancel()
    assert rl_folder.opened(copy).card().state == "interrupted"
    assert len(rl_folder.rows_of(rl_folder.opened(copy).metrics)) == 3
    seen = drive(TrainRl(resume=str(copy), eval_every=-1, eval_episodes=2))
    assert isinstance(seen[-1], Done)
    steps = [row.timesteps for row in rl_folder.rows_of(rl_folder.opened(copy).metrics)]
    assert steps == list(range(128, 769, 128))


def test_autosave_follows_the_run(drive, monkeypatch) -> None:
    saved = []
    monkeypatch.setattr(runner, "SAVE_S", 0.0)
    monkeypatch.setattr(runner, "SHARE", 0)
    real = rl_folder.RunFolder.save
    monkeypatch.setattr(rl_folder.RunFolder, "save", lambda self, snap: (saved.append(snap.facts["timesteps"]), real(self, snap)))
    drive(quick())
    assert saved == [0, 128, 256, 384, 512, 512]


def test_a_live_change_survives_stopping(drive) -> None:
    hand = Hand(quick(total_timesteps=768), park_after=1)
    hand.turn()
    hand.tune(settings=f"{QUICK['ppo'][1]} lr=0.005")
    hand.step()
    hand.cancel()
    seen = drive(TrainRl(resume=folder_of(hand.seen).name, eval_every=-1, eval_episodes=2))
    assert seen[-1].result.facts["settings"]["lr"] == 0.005 and told(seen, "setup")[0].setting("lr").value == 0.005


def test_a_finished_run_can_be_extended(drive) -> None:
    first = drive(quick())
    name = folder_of(first).name
    seen = drive(TrainRl(resume=name, total_timesteps=768, eval_every=-1, eval_episodes=2))
    assert seen[-1].result.facts["timesteps"] == 768 and "total=768" in seen[-1].result.facts["setup"]
    assert len(list(csv.reader(seen[-1].result.files["metrics.csv"].splitlines()))) == 7


def test_a_run_cannot_go_on_twice_at_once(drive) -> None:
    hand = Hand(quick(), park_after=1)
    hand.turn()
    assert "is going on" in sentence(drive(TrainRl(resume=folder_of(hand.seen).name)))
    hand.cancel()


# --- bad input ---


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (quick(env="CartPole-v9"), "knows no environment 'CartPole-v9'"),
        (quick(env="os:system"), "names a module to import"),
        (quick(settings="lr=-0.1"), "lr is -0.1"),
        (quick(settings="batch_size=4096"), "The batch of 4096 is larger than the rollout"),
        (quick(settings="colour=3"), "no setting colour"),
        (quick("ddpg", env="CartPole-v1"), "cannot handle the numbered actions"),
        (quick("qac", env="Pendulum-v1"), "cannot handle the real-valued actions"),
        (quick(env="Acrobot-v1", backend="tensor"), "not there as tensors"),
        (quick(setup="ppo"), "begins with an algorithm"),
        (quick(resume="nobody"), "no run 'nobody'"),
        (quick(env="HalfCheetah-v5"), 'pip install "gymnasium[mujoco]"'),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence_and_no_folder(job, words, drive, monkeypatch) -> None:
    if job.env == "HalfCheetah-v5":
        monkeypatch.setattr(gym, "make", missing_mujoco)
    assert words in sentence(drive(job))
    assert not rl_folder.root_of("").exists()


def missing_mujoco(*_, **__):
    raise gym.error.DependencyNotInstalled("MuJoCo is not installed")


def test_bad_words_are_told_before_a_job_exists() -> None:
    for fields, words in (
        ({"algo": "dqn"}, "cannot be 'dqn'"), ({"settings": "lr=nan"}, "not a finite number"), ({"settings": "lr"}, "not a name"),
        ({"total_timesteps": -5}, "out of range"), ({"eval_episodes": 0}, "out of range"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            quick(**fields)


def test_a_buffer_too_large_is_said_before_the_run(drive, monkeypatch) -> None:
    monkeypatch.setattr(buffers, "memory_bytes", lambda: 2**20)
    assert "A replay buffer of 500,000 steps would need" in sentence(drive(quick("ddpg", settings="buffer_size=500000")))
    assert "A rollout of 4 x 900000 steps would need" in sentence(drive(quick(settings="n_steps=900000")))


BAD = ("raises", "nan", "endless", "text")


class Bad(gym.Env):
    """Raises, returns NaN, or never ends."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)

    def __init__(self, how: str = "raises", render_mode: str | None = None) -> None:
        self.how, self.count = how, 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.count += 1
        if self.how == "raises" and self.count > 100:
            raise RuntimeError("the motor is stuck")
        reward = float("nan") if self.how == "nan" and self.count > 100 else 1.0
        return np.zeros(2, np.float32), reward, False, False, {}

    def render(self):
        return np.full((40, 60, 3), 9, np.uint8) if self.how == "endless" else "text"


@pytest.fixture
def bad_env():
    for how in BAD:
        gym.register(f"Bad-{how}-v0", entry_point=lambda how=how, **words: Bad(how, **words))
    yield
    for how in BAD:
        del gym.registry[f"Bad-{how}-v0"]


def test_what_fails_while_a_run_is_made_leaves_no_folder(drive, bad_env, monkeypatch) -> None:
    monkeypatch.setattr(Bad, "action_space", gym.spaces.Box(-np.inf, np.inf, (1,)))
    assert "needs bounded real-valued actions" in sentence(drive(quick("ddpg", env="Bad-endless-v0")))
    assert not rl_folder.root_of("").exists()


@pytest.mark.parametrize(("how", "words"), [("raises", "failed while stepping: RuntimeError: the motor is stuck"), ("nan", "not finite")])
def test_an_environment_that_fails_ends_the_run_with_a_sentence_and_keeps_it(how, words, drive, bad_env) -> None:
    good = drive(quick())
    seen = drive(quick(env=f"Bad-{how}-v0"))
    assert words in sentence(seen)
    card = rl_folder.opened(folder_of(seen)).card()
    assert card.state == "failed" and words.split(":")[0] in card.sentence
    assert isinstance(good[-1], Done) and rl_folder.opened(folder_of(good)).card().state == "finished"


def test_an_environment_that_never_ends_is_cut(drive, bad_env, monkeypatch) -> None:
    monkeypatch.setattr("models.rl.gym_env.ENDLESS_LIMIT", 50)
    seen = drive(quick(env="Bad-endless-v0"))
    assert isinstance(seen[-1], Done) and seen[-1].result.facts["eval/mean_ep_length"] == 50
    assert {length for part in told(seen, "episodes") for length in part.table[:, 2]} == {50}
    assert told(seen, "agent")[0].pixels.mean() == 9


def test_what_cannot_be_drawn_or_watched_is_trained_all_the_same(drive, bad_env, monkeypatch) -> None:
    monkeypatch.setattr("models.rl.gym_env.ENDLESS_LIMIT", 50)
    seen = drive(quick(env="Bad-text-v0"))
    assert isinstance(seen[-1], Done) and told(seen, "agent")[0].pixels is None
    monkeypatch.setattr(runner.watching.Watcher, "frame", lambda *_: (_ for _ in ()).throw(RLError("It is broken.")))
    seen = drive(quick(env="Bad-text-v0"))
    assert isinstance(seen[-1], Done) and told(seen, "refused") == ["The agent cannot be watched: It is broken."]


def test_a_damaged_checkpoint_and_one_of_another_environment(drive) -> None:
    first, other = drive(quick()), drive(quick("ddpg"))
    path = folder_of(first) / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "is not a snapshot of a training run, or is damaged" in sentence(drive(TrainRl(resume=folder_of(first).name)))
    path.write_bytes((folder_of(other) / "checkpoint.safetensors").read_bytes())
    assert "The snapshot has algorithm ddpg, this run ppo" in sentence(drive(TrainRl(resume=folder_of(first).name)))
    cart = drive(quick(env="Acrobot-v1"))
    path.write_bytes((folder_of(cart) / "checkpoint.safetensors").read_bytes())
    assert "The snapshot has env Acrobot-v1, this run CartPole-v1" in sentence(drive(TrainRl(resume=folder_of(first).name)))
    path.write_bytes(whole)
    assert isinstance(drive(TrainRl(resume=folder_of(first).name, eval_episodes=2))[-1], Done)
