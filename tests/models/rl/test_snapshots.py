"""A run restored goes on as if nothing had happened; policies of the past play again; evaluation leaves training alone."""

import pytest
import torch

from models.rl import snapshots
from models.rl.algorithms import ALGORITHMS, algorithm
from models.rl.envs import CartPole, Discrete, Pendulum
from models.rl.errors import RLError
from models.rl.evaluation import difference, evaluate, play
from models.rl.gym_env import GymEnv
from models.rl.presets import PRESETS, preset
from models.rl.run import updates
from models.rl.settings import A2CSettings, DDPGSettings, PPOSettings, TRPOSettings

SMALL = {
    "a2c": A2CSettings(), "ppo": PPOSettings(n_steps=16, batch_size=16, n_epochs=2), "trpo": TRPOSettings(n_steps=32, batch_size=16),
    "ddpg": DDPGSettings(batch_size=8, buffer_size=100, learning_starts=9, noise_theta=0.15),
}  # fmt: skip


def begin(name, seed=0):
    how = ALGORITHMS[name]
    settings = SMALL.get(name, how.settings())
    env = CartPole(2) if how.discrete else Pendulum(2)
    return how.start(env, settings, seed, (8,)), settings, how


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_resumed_run_equals_an_unbroken_one(name, tmp_path):
    run, settings, how = begin(name)
    going = updates(how.train(run, lambda: settings, 10_000))
    for _ in range(4):
        next(going)
    snapshots.save(snapshots.take(run), tmp_path / "run.safetensors")
    unbroken = [next(going) for _ in range(4)]
    other, _, _ = begin(name, seed=9)
    snapshots.restore(other, snapshots.load(tmp_path / "run.safetensors"))
    again = updates(how.train(other, lambda: settings, 10_000))
    for before, after in zip(unbroken, (next(again) for _ in range(4)), strict=True):
        same = {key: value for key, value in before.metrics.items() if key != "time/fps"}
        assert str(same) == str({key: value for key, value in after.metrics.items() if key != "time/fps"})  # NaN is equal to NaN
        assert (before.step, before.timesteps) == (after.step, after.timesteps) and torch.equal(before.episodes, after.episodes)
    assert all(torch.equal(a, b) for a, b in zip(run.nets.parameters(), other.nets.parameters(), strict=True))
    assert not (tmp_path / "run.safetensors.new").exists()


def test_two_equal_runs_are_equal_and_seeds_differ():
    def weights(seed):
        run, settings, how = begin("ppo", seed)
        list(updates(how.train(run, lambda: settings, 128)))
        return torch.cat([p.detach().reshape(-1) for p in run.policy.parameters()])

    state = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))
    assert torch.equal(state, torch.random.get_rng_state())  # the global noise was never touched


def test_a_run_through_gymnasium_goes_on_with_new_episodes():
    settings = SMALL["ppo"]
    run, other = (algorithm("ppo").start(GymEnv("CartPole-v1", 2), settings, 0, (8,)) for _ in range(2))
    list(updates(algorithm("ppo").train(run, lambda: settings, 64)))
    snapshots.restore(other, snapshots.take(run))
    assert other.timesteps == 64 and other.returns.tolist() == [0, 0]
    assert all(torch.equal(a, b) for a, b in zip(run.nets.parameters(), other.nets.parameters(), strict=True))
    list(updates(algorithm("ppo").train(other, lambda: settings, 128)))


def test_what_does_not_fit_or_is_damaged_gets_a_sentence(tmp_path):
    run, _, _ = begin("ppo")
    taken = snapshots.take(run)
    with pytest.raises(RLError, match="algorithm ppo, this run a2c"):
        snapshots.restore(begin("a2c")[0], taken)
    elsewhere = ALGORITHMS["ppo"].start(Pendulum(2), SMALL["ppo"], 0, (8,))
    with pytest.raises(RLError, match="env CartPole-v1, this run Pendulum-v1"):
        snapshots.restore(elsewhere, taken)
    path = tmp_path / "run.safetensors"
    snapshots.save(taken, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RLError, match="damaged"):
        snapshots.load(path)
    path.write_text("hello")
    with pytest.raises(RLError, match="damaged"):
        snapshots.load(path)
    with pytest.raises(RLError, match="no file"):
        snapshots.load(tmp_path / "other.safetensors")
    del taken.tensors["nets.policy.net.0.weight"]
    with pytest.raises(RLError, match="damaged"):
        snapshots.restore(begin("ppo")[0], taken)


def test_history_is_bounded_and_stays_spread_over_the_run():
    run, _, _ = begin("ppo")
    each = sum(p.numel() * 4 for p in run.policy.parameters())
    history = snapshots.PolicyHistory(max_bytes=20 * each)
    with pytest.raises(RLError):
        history.at(0)
    for update in range(1, 1001):
        with torch.no_grad():
            run.policy.net[0].bias.fill_(float(update))
        history.add(update, update * 10, run.policy)
        assert history.bytes() <= 20 * each
    kept = [k.update for k in history.kept]
    gaps = {b - a for a, b in zip(kept, kept[1:], strict=False)}
    assert kept[0] == 1 and len(kept) >= 10 and len(gaps) == 1
    assert history.at(10_000).update == 1000 and history.at(0).update == 1
    found = history.at(5000)
    assert 5000 - 10 * max(gaps) <= found.timesteps <= 5000
    assert (found.weights["net.0.bias"] == found.update).all()


def test_a_policy_of_the_past_replays_the_same_episode():
    run, _, _ = begin("ppo")
    history = snapshots.PolicyHistory()
    history.add(1, 32, run.policy)
    before = play(run.policy, CartPole(1), seed=5)
    with torch.no_grad():
        run.policy.net[-1].weight.normal_()
    after = play(run.policy, CartPole(1), seed=5)
    assert torch.equal(before.obs[0], after.obs[0]) and not torch.equal(before.obs, after.obs)
    apart = difference(run.policy, begin("ppo")[0].policy, before.obs)
    assert apart.shape == (len(before.obs),) and 0.05 < apart.max() <= 1
    run.policy.load_state_dict(history.at(32).weights)
    again = play(run.policy, CartPole(1), seed=5)
    assert torch.equal(again.obs, before.obs) and again.facts == before.facts
    assert before.total == len(before.rewards) == len(before.facts) and before.terminated
    assert torch.allclose(before.probabilities.sum(1), torch.ones(len(before.obs)))
    assert before.facts[0]["x"] == pytest.approx(float(before.obs[0, 0]))


def test_evaluation_plays_whole_first_episodes_and_agrees_with_gymnasium():
    run, _, _ = begin("ppo")
    state = run.env.get_state()
    result = evaluate(run.policy, CartPole, 8, seed=3)
    assert torch.equal(result.returns.float(), result.lengths) and result.metrics["eval/mean_ep_length"] < 60
    assert torch.equal(run.env.get_state()["state"], state["state"])
    pendulum = evaluate(begin("ddpg")[0].policy, lambda n: GymEnv("Pendulum-v1", n), 3)
    assert (pendulum.lengths == 200).all() and -2000 < pendulum.metrics["eval/mean_reward"] < 0


@pytest.mark.parametrize(("name", "env_id"), PRESETS)
def test_presets_fit_their_algorithm(name, env_id):
    setup = preset(name, env_id)
    assert isinstance(setup.settings, algorithm(name).settings) and setup.note
    batch = getattr(setup.settings, "batch_size", 1)
    assert name == "ddpg" or batch <= setup.n_envs * setup.settings.n_steps
    with pytest.raises(RLError, match="no algorithm"):
        preset("sac", env_id)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_refuse_actions_they_cannot_handle(name):
    how = ALGORITHMS[name]
    for env in (CartPole(1), Pendulum(1)):
        if how.discrete if isinstance(env.spec.actions, Discrete) else how.continuous:
            how.check(env.spec)
        else:
            with pytest.raises(RLError, match=how.title):
                how.check(env.spec)
