"""Exact solutions against other ways to them; the policy gradient of the algorithms against the exact one."""

import pytest
import torch

from models.rl import actor_critic, planes
from models.rl.gae import discounted_returns, gae
from models.rl.gridworld import WORLDS, GridWorld
from models.rl.mdp import MDP
from models.rl.nets import Categorical
from models.rl.presets import preset
from models.rl.run import updates
from models.rl.settings import OffPolicySettings, QACSettings


def small_mdp(seed=0, S=4, A=3, gamma=0.9):
    g = torch.Generator().manual_seed(seed)
    P = torch.rand(S, A, S, generator=g, dtype=torch.float64)
    R = torch.randn(S, A, generator=g, dtype=torch.float64)
    start = torch.rand(S, generator=g, dtype=torch.float64)
    return MDP(P / P.sum(2, keepdim=True), R, start / start.sum(), gamma)


def test_values_and_optimum_agree_with_iteration():
    mdp = small_mdp()
    pi = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    v, q = mdp.values(pi)
    v_star, q_star = mdp.optimal()
    w, w_star = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for _ in range(500):  # Bellman's operators
        w = (pi * (mdp.R + mdp.gamma * mdp.P @ w)).sum(1)
        w_star = (mdp.R + mdp.gamma * mdp.P @ w_star).max(1).values
    assert (v - w).abs().max() < 1e-10 and (v_star - w_star).abs().max() < 1e-10
    assert ((pi * q).sum(1) - v).abs().max() < 1e-10 and (q_star.max(1).values - v_star).abs().max() < 1e-10
    assert abs(float(mdp.visits(pi).sum()) - 1 / (1 - mdp.gamma)) < 1e-9


def test_the_policy_gradient_theorem_equals_the_derivative_of_the_return():
    mdp = small_mdp()
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    v, _ = mdp.values(logits.softmax(1))
    (direct,) = torch.autograd.grad(mdp.start @ v, logits)
    assert (mdp.policy_gradient(logits.detach()) - direct).abs().max() < 1e-10


def test_the_sampled_gradient_is_within_three_standard_errors_of_the_exact_one():
    """States from the discounted visits, actions from the policy, exact q as weight: what QAC estimates, term by term."""
    mdp = small_mdp()
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pi, g, n = logits.softmax(1), torch.Generator().manual_seed(2), 200_000
    visits, (_, q) = mdp.visits(pi), mdp.values(pi)
    s = torch.multinomial(visits, n, replacement=True, generator=g)
    law = Categorical.of(logits[s])
    a = law.sample(g)
    leaf = logits[s].clone().requires_grad_()
    (rows,) = torch.autograd.grad((Categorical.of(leaf).log_prob(a) * q[s, a]).sum(), leaf)
    one_hot = torch.nn.functional.one_hot(s, 4).double()
    each = one_hot[:, :, None] * rows[:, None, :] * visits.sum()
    error = (each.mean(0) - mdp.policy_gradient(logits)).abs() / (each.std(0) / n**0.5)
    assert error.max() < 3  # twelve numbers and a fixed seed


class OneStep:
    """What an environment answered, for updates computed by hand."""

    def __init__(self, obs, reward):
        self.final_obs = self.obs = obs
        self.reward, self.terminated = reward, torch.zeros(len(obs), dtype=torch.bool)
        self.truncated = self.done = self.terminated


def one_state_run(start, settings):
    env = GridWorld(1)
    return start(env, settings, 0, ())


def gradients_of(run, learn):
    learn()
    return [torch.cat([p.grad.reshape(-1) for p in run.nets[name].parameters()]) for name in run.nets]


def test_the_off_policy_mean_equals_the_on_policy_mean():
    """Summed over all actions with the chances of the behaviour, rho makes both gradients those of the policy itself."""
    quiet = OffPolicySettings(lr=1e-12, critic_lr=1e-12, max_grad_norm=1e9, exploration=0.6)
    run = one_state_run(actor_critic.start_off_policy, quiet)
    with torch.no_grad():
        run.policy.net[0].weight.normal_(generator=torch.Generator().manual_seed(0))
    obs = run.obs
    reward = torch.tensor([1.0, -2.0, 0.5, 3.0])
    law = run.policy(obs)
    acting = actor_critic.behaviour(law, quiet.exploration)

    def mean(distribution):
        total = 0
        for a in range(4):
            action = torch.tensor([a])
            step = OneStep(obs, reward[a : a + 1])
            log_b = distribution.log_prob(action)
            parts = gradients_of(run, lambda: actor_critic.learn_off_policy(run, quiet, obs, action, log_b, step))  # noqa: B023
            total = total + torch.cat(parts) * float(log_b.exp())
        return total

    on, off = mean(law.detach()), mean(acting)
    assert (acting.logp - law.logp).abs().max() > 0.1 and on.abs().max() > 0.1
    assert (on - off).abs().max() < 1e-5


def test_qac_solves_the_grid_world():
    """The tabular agent comes near the exact optimum of the soft-started episode, and its critic near the exact q of its own policy."""
    env = GridWorld(64)
    settings = QACSettings(lr=0.05, critic_lr=0.05, gamma=0.95)
    run = actor_critic.start_qac(env, settings, 0, ())
    for _ in updates(actor_critic.qac(run, lambda: settings, 64 * 800)):
        pass
    mdp = env.mdp(0.95)
    with torch.no_grad():
        pi = run.policy(torch.eye(25)).logp.exp().double()
        v, _ = mdp.values(pi)
        best, _ = mdp.optimal()
        uniform, _ = mdp.values(torch.full_like(pi, 0.25))
    assert v[0] > 0.85 * best[0] > 0 > uniform[0]
    shown = planes.plane_map(run.nets, torch.eye(25), (5, 5))
    assert abs(float(shown.value[0, 0]) - float(v[0])) < 0.15 and shown.certainty.shape == (5, 5)


def test_gae_equals_its_definition():
    """Eq. 16: a sum of discounted TD errors, within each episode only; cut ones go on in their last value, ended ones do not."""
    g, T, N, gamma, lam = torch.Generator().manual_seed(0), 12, 3, 0.97, 0.8
    rewards, values, following = (torch.randn(T, N, generator=g, dtype=torch.float64) for _ in range(3))
    terminated = torch.rand(T, N, generator=g) < 0.15
    done = terminated | (torch.rand(T, N, generator=g) < 0.15)
    advantages, returns = gae(rewards, values, following, terminated, done, gamma=gamma, lam=lam)
    for n in range(N):
        for t in range(T):
            expected, weight = 0.0, 1.0
            for k in range(t, T):
                after = 0.0 if terminated[k, n] else float(following[k, n])
                expected += weight * float(rewards[k, n] + gamma * after - values[k, n])
                if done[k, n]:
                    break
                weight *= gamma * lam
            assert abs(float(advantages[t, n]) - expected) < 1e-10
    assert torch.allclose(returns, advantages + values) and (done & ~terminated).any() and terminated.any()


def test_lambda_one_is_the_n_step_return():
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    zeros, no = torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool)
    _, returns = gae(rewards, zeros, torch.tensor([[0.0], [0.0], [8.0]]), no, no, gamma=0.5, lam=1.0)
    assert returns[:, 0].tolist() == [1 + 1 + 0.75 + 1, 2 + 1.5 + 2, 3 + 4]
    assert discounted_returns(rewards[:, 0], 0.5).tolist() == [2.75, 3.5, 3.0]


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_can_be_solved(world):
    env = GridWorld(1, world)
    best, q = env.mdp(0.99).optimal()
    assert best[env.start] > 0.3 and best[env.ends].abs().max() == 0 and q.shape == (env.spec.obs_dim, 4)
    assert preset("qac", world).hidden == ()
