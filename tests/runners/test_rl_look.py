"""Looking at runs on the disk: list, history, the policy time machine, maps, comparisons, exports; and what is chosen before a run."""

from __future__ import annotations

import csv
import importlib.util
import json
import struct

import gymnasium as gym
import numpy as np
import pytest
import torch

from app.jobs.rl import CompareRl, ExportRl, PlayRl, RlHistory, RlPlane, RlRuns, RlSetup, TrainRl
from app.protocol import rl
from app.protocol.events import Done, Progress, Record
from app.runners import rl as runner
from app.runners import rl_events, rl_folder
from models.rl import run
from tests.runners.rl_hand import Hand, folder_of, quick, sentence, told


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trained(drive):
    """A short run: its events, and its name."""
    seen = drive(quick(total_timesteps=1024))
    return seen, folder_of(seen).name


def result(seen):
    assert isinstance(seen[-1], Done), seen[-1]
    return seen[-1].result


# --- before a run ---


def test_a_setup_says_what_a_run_is_made_of(drive) -> None:
    found = result(drive(RlSetup(algo="ppo", env="CartPole-v1", settings="lr=0.002")))
    setup = found.files["setup"]
    assert setup.setting("lr").value == 0.002 and setup.setting("clip_range").value == 0.2 and setup.batched
    assert setup.setting("n_epochs").kind == "whole" and setup.setting("clip_range_vf").optional
    assert setup.setting("normalize_advantage").kind == "switch" and all(item.help for item in setup.settings)
    assert (setup.total, setup.n_envs, setup.hidden) == (100_000, 8, (64, 64))
    assert setup.reference.mean == 500 and "zoo" in setup.reference.source and "ppo.yml" in setup.note
    assert setup.memory == "A rollout of 8 x 32 steps takes about 24.0 KiB." and setup.action_names == ("left", "right")
    assert rl.parse_setup(setup.text).settings.startswith("gamma=0.98 lr=0.002")
    suits = {row["name"]: row["suits"] for row in found.facts["algorithms"]}
    assert suits == {"qac": True, "a2c": True, "off-policy-ac": True, "deterministic-ac": False, "ddpg": False, "trpo": True, "ppo": True}
    assert {"algo": "ppo", "env": "CartPole-v1", "note": setup.note} in found.facts["presets"]


@pytest.mark.parametrize("algo", ["qac", "a2c", "off-policy-ac", "deterministic-ac", "ddpg", "trpo", "ppo"])
def test_every_setting_of_every_algorithm_is_explained(algo, drive) -> None:
    env = "Pendulum-v1" if algo in ("ddpg", "deterministic-ac") else "CartPole-v1"
    setup = result(drive(RlSetup(algo=algo, env=env))).files["setup"]
    assert len(setup.settings) > 3 and all(item.help and item.lo <= item.hi for item in setup.settings)
    assert setup.setting("buffer_size") is None or not setup.setting("buffer_size").live


def test_the_map_of_a_grid_world_is_told(drive) -> None:
    assert result(drive(RlSetup(algo="qac", env="GridWorld-5x5"))).files["setup"].grid == ("S....", ".##..", "...X.", ".X...", "....G")


def test_what_needs_a_missing_package_is_named_with_the_line_that_installs_it(drive, monkeypatch) -> None:
    real = gym.make

    def without_box2d(env_id, **words):
        if env_id.startswith("LunarLander"):
            raise gym.error.DependencyNotInstalled("Box2D is not installed")
        return real(env_id, **words)

    monkeypatch.setattr(gym, "make", without_box2d)
    rows = {row["id"]: row for row in result(drive(RlSetup())).facts["environments"]}
    assert rows["CartPole-v1"]["ready"] and not rows["LunarLander-v3"]["ready"]
    assert 'Install it with: pip install "gymnasium[box2d]"' in rows["LunarLander-v3"]["note"]
    assert 'pip install "gymnasium[box2d]"' in sentence(drive(TrainRl(env="LunarLander-v3")))


@pytest.mark.skipif(importlib.util.find_spec("Box2D") is None, reason="Box2D is not installed")
def test_lunar_lander_trains_and_shows_its_own_pictures(drive) -> None:
    seen = drive(quick(env="LunarLander-v3", total_timesteps=256, n_envs=2, settings="n_steps=32 batch_size=32 n_epochs=1"))
    frames = told(seen, "agent")
    assert result(seen).facts["backend"] == "gymnasium" and frames[-1].pixels.shape == (200, 300, 3)
    assert frames[-1].pixels.std() > 5 and len(frames[-1].probabilities) == 4 and not told(seen, "plane")
    film = result(drive(PlayRl(run=folder_of(seen).name))).files["film"]
    assert 20 < len(film.frames) <= 162 and film.frames[-1].ended and film.frames[0].pixels is not None


# --- the list ---


def test_the_list_of_runs_shows_each_and_deletes_one(drive) -> None:
    names = [folder_of(drive(quick(seed=seed))).name for seed in (0, 1)]
    cards = result(drive(RlRuns())).files["runs"]
    assert {card.run for card in cards} == set(names) and {card.seed for card in cards} == {0, 1}
    assert all(card.state == "finished" and card.eval_mean > 0 and card.timesteps == card.total == 512 for card in cards)
    left = result(drive(RlRuns(delete=names[0]))).files["runs"]
    assert [card.run for card in left] == [names[1]]
    assert "no run" in sentence(drive(RlRuns(delete=names[0])))
    assert "no run" in sentence(drive(RlRuns(delete="..")))


def test_a_damaged_folder_stands_in_the_list_with_a_sentence(trained, drive) -> None:
    seen, name = trained
    (folder_of(seen) / "run.json").write_text("{")
    (card,) = result(drive(RlRuns())).files["runs"]
    assert card.run == name and card.state == "failed" and "damaged" in card.sentence
    assert "damaged" in sentence(drive(RlHistory(run=name)))


def test_a_run_that_goes_on_is_not_deleted_and_can_be_looked_at(drive) -> None:
    hand = Hand(quick(total_timesteps=768), park_after=2)
    hand.turn()
    name = folder_of(hand.seen).name
    assert "is going on" in sentence(drive(RlRuns(delete=name)))
    assert result(drive(RlRuns())).files["runs"][0].state == "running"
    history = result(drive(RlHistory(run=name))).files
    assert [row.update for row in history["metrics"]] == [1, 2] and history["moments"][0] == 0
    assert result(drive(PlayRl(run=name))).files["film"].frames
    hand.cancel()
    assert result(drive(RlRuns())).files["runs"][0].state == "stopped"


# --- a run's past ---


def test_the_history_is_what_the_run_told(trained, drive) -> None:
    seen, name = trained
    history = result(drive(RlHistory(run=name))).files
    rows = [row for part in told(seen, "metrics") for row in part]
    assert [(row.update, row.timesteps) for row in history["metrics"]] == [(row.update, row.timesteps) for row in rows]
    assert history["metrics"][-1].get("train/approx_kl") == pytest.approx(rows[-1].get("train/approx_kl"), rel=1e-6)
    assert history["episodes"] == rl.Episodes(np.concatenate([part.table for part in told(seen, "episodes")]))
    assert history["evals"][-1].get("eval/mean_reward") == pytest.approx(told(seen, "eval")[-1].get("eval/mean_reward"), rel=1e-6)
    assert history["card"].state == "finished" and history["setup"].text == history["card"].setup
    assert history["lamps"] == told(seen, "lamps")[-1] and history["moments"] == told(seen, "moments")[-1]


def test_the_policy_of_every_moment_plays_the_same_episode(trained, drive) -> None:
    seen, name = trained
    moments = result(drive(RlHistory(run=name))).files["moments"]
    assert moments[0] == 0 and moments[-1] == 1024 and len(moments) == 9
    early, late = (result(drive(PlayRl(run=name, timesteps=at, seed=7))).files["film"] for at in (0, -1))
    assert (early.timesteps, late.timesteps) == (0, 1024)
    assert early.frames[0].facts == late.frames[0].facts and early.frames[0].value != late.frames[0].value
    assert result(drive(PlayRl(run=name, timesteps=300, seed=7))).files["film"].timesteps == 256
    again = result(drive(PlayRl(run=name, timesteps=0, seed=7))).files["film"]
    assert again == early
    assert late.total == len(late.frames) == sum(frame.reward for frame in late.frames) + 1 and late.frames[-1].ended
    other = result(drive(PlayRl(run=name, timesteps=0, seed=8))).files["film"]
    assert other.frames[0].facts != early.frames[0].facts


def test_a_film_agrees_with_the_policy_file(trained, drive) -> None:
    from safetensors.torch import load

    seen, name = trained
    weights = load(result(seen).files["policy.safetensors"])
    frame = result(drive(PlayRl(run=name, seed=3))).files["film"].frames[0]
    obs = torch.tensor([dict(frame.facts)[key] for key in ("x", "velocity", "angle", "angular_velocity")], dtype=torch.float32)
    hidden = torch.tanh(weights["net.0.weight"] @ obs + weights["net.0.bias"])
    p = (weights["net.2.weight"] @ hidden + weights["net.2.bias"]).softmax(0)
    assert frame.probabilities == pytest.approx(p.tolist(), abs=1e-5) and frame.action == (float(p.argmax()),)


def test_policies_are_bounded_and_stay_spread(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rl_folder, "MOST_POLICIES", 20)
    shelf, nets = rl_folder.Shelf(tmp_path / "policies"), torch.nn.ModuleDict({"policy": torch.nn.Linear(2, 2)})
    for at in range(0, 10_000, 10):
        if shelf.due(at, 1000):  # ten times as long as was planned
            shelf.add(at, nets)
    moments = shelf.moments()
    assert moments[0] == 0 and len(moments) <= 20 and moments[-1] > 8000
    assert max(np.diff(moments)) <= 4 * 10_000 / 20
    monkeypatch.setattr(rl_folder, "MOST_BYTES", 2000)
    shelf.add(20_000, nets)
    assert len(shelf.moments()) < len(moments)


def test_a_map_of_a_moment(trained, drive) -> None:
    _, name = trained
    views = [result(drive(RlPlane(run=name, timesteps=at))).files["plane"] for at in (0, -1)]
    assert [view.timesteps for view in views] == [0, 1024] and views[0] != views[1]
    assert views[1].value.shape == (41, 41) and views[1].advantage.std() > 0
    assert views[1].advantage_name.startswith("right over left") and views[1].certainty.min() >= 0.5
    acrobot = drive(quick(env="Acrobot-v1", total_timesteps=128))
    assert "too large for a map" in sentence(drive(RlPlane(run=folder_of(acrobot).name)))


def test_two_moments_compared(trained, drive) -> None:
    _, name = trained
    same = result(drive(CompareRl(run=name, seed=2)))
    assert same.files["film"] == same.files["other"] and same.facts["mean_difference"] == 0
    apart = result(drive(CompareRl(run=name, seed=2, timesteps=0)))
    assert apart.files["difference"].shape == (len(apart.files["film"].frames),) and apart.facts["mean_difference"] > 0
    other = folder_of(drive(quick("qac"))).name
    assert "One run is of CartPole-v1, the other of GridWorld-5x5" in sentence(drive(CompareRl(run=name, other=other)))


def test_a_damaged_policy_and_one_of_another_run_get_a_sentence(trained, drive) -> None:
    seen, name = trained
    file = folder_of(seen) / "policies" / f"{1024:012d}.safetensors"
    other = folder_of(drive(quick(hidden=(8,)))) / "policies" / f"{512:012d}.safetensors"
    file.write_bytes(other.read_bytes())
    assert "networks differ" in sentence(drive(PlayRl(run=name)))
    file.write_bytes(b"nothing")
    assert "The policy of step 1,024 is damaged" in sentence(drive(PlayRl(run=name)))
    assert result(drive(PlayRl(run=name, timesteps=512)))


# --- exports ---


def test_an_export_holds_tables_events_and_policy(trained, drive) -> None:
    seen, name = trained
    found = result(drive(ExportRl(run=name)))
    assert found.files["metrics.csv"] == result(seen).files["metrics.csv"] and "policy.safetensors" in found.files
    (event_name,) = [file for file in found.files if file.startswith("events.out.tfevents.")]
    assert found.files["policy.safetensors"] == result(seen).files["policy.safetensors"]
    assert found.facts["rows"] == 8 and len(found.files[event_name]) > 500


def test_an_event_file_is_what_tensorboard_reads(trained, drive) -> None:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    crc = pytest.importorskip("tensorboardX.crc32c").crc32c
    seen, name = trained
    found = result(drive(ExportRl(run=name))).files
    data = next(value for file, value in found.items() if file.startswith("events.out"))
    read = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for part, check in ((data[:8], data[8:12]), (body, data[12 + length : 16 + length])):
            plain = crc(part)
            assert struct.unpack("<I", check)[0] == ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
        read.append(event_pb2.Event.FromString(body))
        data = data[16 + length :]
    assert read[0].file_version == "brain.Event:2"
    steps = {event.step for event in read[1:]}
    assert steps == set(range(128, 1025, 128))
    rows = [row for part in told(seen, "metrics") for row in part]
    values = {value.tag: value.simple_value for event in read if event.step == 1024 for value in event.summary.value}
    assert values["train/approx_kl"] == pytest.approx(rows[-1].get("train/approx_kl"), rel=1e-5)
    assert {"rollout/ep_rew_mean", "eval/mean_reward"} <= set(values)


def test_an_event_file_without_tensorboard_is_checked_by_its_own_bytes() -> None:
    """CRC-32C of "123456789" is E3069283 (RFC 3720, appendix B.4 and the check value of the polynomial)."""
    plain = 0xE3069283
    assert rl_events.masked_crc(b"123456789") == ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
    _, data = rl_events.event_file((rl.RlRow(1, 300, 1.0, (("a", 0.5), ("b", float("nan")))),), begun=100.0)
    assert b"brain.Event:2" in data and b"\x10\xac\x02" in data and struct.pack("<f", 0.5) in data and b"\x0a\x01b" not in data


def test_the_command_line_job_writes_an_event_file_on_request(drive) -> None:
    files = result(drive(quick(tensorboard=True))).files
    assert any(name.startswith("events.out.tfevents.") for name in files)


# --- tables ---


def test_columns_that_turn_up_later_are_added(tmp_path) -> None:
    table = rl_folder.Table(tmp_path / "t.csv", ("a",))
    table.add_named([{"a": 1}])
    table.flush()
    table.add_named([{"a": 2, "b": 3}])
    table.flush()
    assert (tmp_path / "t.csv").read_text() == "a,b\n1\n2,3\n"
    assert rl_folder.Table(tmp_path / "t.csv", ("a",)).columns == ["a", "b"]


def test_rows_tell_of_more_and_more_updates_the_longer_a_run_is(drive, monkeypatch) -> None:
    monkeypatch.setattr(runner, "DENSE_ROWS", 50)
    seen = drive(quick("a2c", total_timesteps=4000))
    rows = [row for part in told(seen, "metrics") for row in part]
    steps = [row.update for row in rows]
    assert result(seen).facts["updates"] == 200 == steps[-1] and steps[:50] == list(range(1, 51))  # the first come at once
    assert len([at for at in steps if 50 < at <= 100]) == 25 and len(rows) <= 50 + 25 + 18 + 13
    assert rows[-1].timesteps == 4000 and rows[-1].get("train/n_updates") == 200


def test_episodes_are_told_before_the_first_update(drive, monkeypatch) -> None:
    monkeypatch.setattr(runner, "REPORT_S", 0.0)
    monkeypatch.setattr(run, "TICK_S", 0.0)
    seen = drive(quick("ddpg", total_timesteps=420, settings="learning_starts=410 batch_size=16 buffer_size=500"))
    channels = [event.channel for event in seen if isinstance(event, Record)]
    first = channels.index("episodes")
    assert first < channels.index("metrics")
    early = told(seen, "episodes")[0].table
    assert early.shape == (1, 3) and early[0, 0] == early[0, 2] == 200 and early[0, 1] < 0
    notes = [event.note for event in seen if isinstance(event, Progress)]
    assert any("of 420 steps (no update yet)" in note for note in notes) and "no update" not in notes[-1]
    rows = list(csv.reader(result(seen).files["episodes.csv"].splitlines()))
    assert [row[0] for row in rows[1:]] == ["200", "400"]  # each once


def test_result_json_stays_in_the_folder(trained) -> None:
    seen, _ = trained
    assert json.loads((folder_of(seen) / "result.json").read_text())["eval/mean_reward"] == result(seen).facts["eval/mean_reward"]
