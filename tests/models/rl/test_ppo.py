"""PPO: the loss against a batch computed by hand, what live settings do, bad settings, and that it learns."""

import math

import pytest
import torch

from models.rl import ppo
from models.rl.a2c import Batch
from models.rl.envs import CartPole
from models.rl.errors import RLError
from models.rl.evaluation import evaluate
from models.rl.nets import Categorical, Gaussian
from models.rl.run import Tick, updates
from models.rl.settings import A2CSettings, DDPGSettings, PPOSettings


def test_the_loss_equals_one_computed_by_hand():
    """Three actions with probability 1/2 each under the old policy; new ratios 1.5, 0.5 and 1.1; clip 0.2."""
    p = torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.55, 0.45]], dtype=torch.float64)
    batch = Batch(
        obs=torch.zeros(3, 1), actions=torch.tensor([0, 1, 0]), log_probs=torch.full((3,), math.log(0.5), dtype=torch.float64),
        values=torch.tensor([0.0, 1.0, 2.0]), advantages=torch.tensor([2.0, 1.0, -1.0]), returns=torch.tensor([1.0, 1.0, 4.0]),
    )  # fmt: skip
    settings = PPOSettings(normalize_advantage=False, clip_range_vf=0.5, ent_coef=0.1, vf_coef=0.5)
    loss = ppo.ppo_loss(Categorical(p.log()), torch.tensor([2.0, 1.2, 2.1]), batch, settings, 0.2)
    assert torch.allclose(loss.ratio, torch.tensor([1.5, 0.5, 1.1], dtype=torch.float64))
    policy = -(min(3.0, 2.4) + min(0.5, 0.8) + min(-1.1, -1.1)) / 3
    value = ((1 - 0.5) ** 2 + (1 - 1.2) ** 2 + (4 - 2.1) ** 2) / 3  # 2.0 is cut to 0 + 0.5
    entropy = -sum(a * math.log(a) for a in (0.75, 0.25, 0.75, 0.25, 0.55, 0.45)) / 3
    kl = sum((r - 1) - math.log(r) for r in (1.5, 0.5, 1.1)) / 3
    expected = torch.tensor([policy, value, -entropy, policy - 0.1 * entropy + 0.5 * value, kl, 2 / 3], dtype=torch.float64)
    assert (loss.row - expected).abs().max() < 1e-6
    assert torch.allclose(loss.by_log_prob, torch.tensor([0.0, -0.5 / 3, 1.1 / 3], dtype=torch.float64))  # the first is clipped
    assert torch.allclose(loss.by_value, torch.tensor([0.0, 0.2 / 3, -1.9 / 3]))  # 2 c_v (v - R) / n; the first is cut


@pytest.mark.parametrize("law", [
    lambda z: Categorical.of(z), lambda z: Gaussian(z[:, :2], z[0, 2:]),
])  # fmt: skip
def test_laws_agree_with_torchs(law):
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, other = law(z), law(z * 0.5 + 0.1)

    def theirs(law):
        if isinstance(law, Categorical):
            return torch.distributions.Categorical(logits=law.logp)
        return torch.distributions.Independent(torch.distributions.Normal(law.mean, law.log_std.exp()), 1)

    reference, action = theirs(ours), ours.sample(torch.Generator().manual_seed(1))
    assert torch.allclose(ours.log_prob(action), reference.log_prob(action)) and torch.allclose(ours.entropy(), reference.entropy())
    assert torch.allclose(ours.kl_to(other), torch.distributions.kl_divergence(reference, theirs(other)))


def test_samples_have_the_laws_frequencies():
    law = Categorical.of(torch.tensor([[0.0, 1.0, -1.0]]).expand(40_000, 3))
    counts = torch.bincount(law.sample(torch.Generator().manual_seed(0)), minlength=3) / 40_000
    assert (counts - law.logp[0].exp()).abs().max() < 0.01
    normal = Gaussian(torch.full((40_000, 1), 2.0), torch.tensor([0.5]).log())
    drawn = normal.sample(torch.Generator().manual_seed(0))
    assert abs(float(drawn.mean()) - 2) < 0.01 and abs(float(drawn.std()) - 0.5) < 0.01


def test_settings_change_in_the_run_and_schedules_fall():
    box = [PPOSettings(n_steps=32, batch_size=64, n_epochs=2, lr=1e-3, lr_decay=1.0, clip_decay=0.5)]
    run = ppo.start(CartPole(4), box[0])
    seen = []
    for update in updates(ppo.ppo(run, lambda: box[0], 512)):
        seen.append((update.metrics["train/learning_rate"], update.metrics["train/clip_range"]))
        if update.step == 2:
            box[0] = PPOSettings(n_steps=32, batch_size=64, n_epochs=3, lr=1e-2)
    assert [round(rate, 6) for rate, _ in seen] == [7.5e-4, 5e-4, 1e-2, 1e-2]
    assert [round(clip, 4) for _, clip in seen] == [0.175, 0.15, 0.2, 0.2]
    assert run.extra["epochs"] == 2 * 2 + 2 * 3 and run.optimizers["both"].param_groups[0]["lr"] == 1e-2


def test_records_tell_all_that_views_need():
    settings = PPOSettings(n_steps=64, batch_size=64, n_epochs=3, lr=3e-3)
    run = ppo.start(CartPole(4), settings)
    steps = list(ppo.ppo(run, lambda: settings, 1024))
    told = [step for step in steps if not isinstance(step, Tick)]
    assert [u.step for u in told] == [1, 2, 3, 4] and {u.total for u in told} == {4} and told[-1].timesteps == 1024
    episodes = torch.cat([u.episodes for u in told])
    assert len(episodes) > 10 and (episodes[:, 1] == episodes[:, 2]).all() and (episodes[:, 0].diff() >= 0).all()
    assert abs(told[-1].metrics["rollout/ep_rew_mean"] - float(episodes[-100:, 1].mean())) < 1e-5
    view = told[-1].view
    assert int(view.ratio_counts.sum()) == 256 and len(view.kl_by_epoch) == 3 and view.stopped_in_epoch is None
    assert view.ratio_counts[:32].sum() + view.ratio_counts[48:].sum() <= 256 * max(view.clipped_by_epoch) + 1
    assert torch.is_grad_enabled() and all(0 <= t.done <= t.total for t in steps if isinstance(t, Tick))


@pytest.mark.parametrize(("kind", "bad"), [
    (PPOSettings, {"lr": -1.0}), (PPOSettings, {"lr": float("nan")}), (PPOSettings, {"clip_range": 0.0}), (PPOSettings, {"gamma": 1.5}),
    (A2CSettings, {"n_steps": 0}), (DDPGSettings, {"tau": 0.0}), (PPOSettings, {"target_kl": -0.1}),
    (DDPGSettings, {"noise": float("inf")}),
])  # fmt: skip
def test_bad_settings_get_a_sentence(kind, bad):
    with pytest.raises(RLError, match=next(iter(bad))) as error:
        kind(**bad)
    assert error.value.hint


def test_what_does_not_fit_is_refused_before_the_run():
    with pytest.raises(RLError, match="larger than the rollout of 2 x 16 = 32"):
        ppo.start(CartPole(2), PPOSettings(n_steps=16, batch_size=64))
    with pytest.raises(RLError, match="GiB"):
        ppo.start(CartPole(100_000), PPOSettings(n_steps=1_000_000))


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence():
    settings = PPOSettings(n_steps=32, batch_size=64, n_epochs=1)
    run = ppo.start(CartPole(4), settings)
    with torch.no_grad():
        run.nets["value"].net[0].weight[0, 0] = float("nan")
    with pytest.raises(RLError, match="finite"):
        list(ppo.ppo(run, lambda: settings, 256))


def test_it_learns_to_balance():
    """A quarter of the steps that the preset takes; an untrained policy lasts about 20."""
    settings = PPOSettings(n_steps=128, batch_size=512, n_epochs=8, lr=3e-3, gae_lambda=0.9, gamma=0.98)
    run = ppo.start(CartPole(16), settings, 0)
    before = evaluate(run.policy, CartPole, 10).metrics["eval/mean_reward"]
    for _ in updates(ppo.ppo(run, lambda: settings, 25_000)):
        pass
    assert before < 60 and evaluate(run.policy, CartPole, 10).metrics["eval/mean_reward"] > 200
