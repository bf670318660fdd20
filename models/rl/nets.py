"""Networks of the actor-critic family: policies (categorical, Gaussian, deterministic) and critics (v(s), q(s, .), q(s, a)).

Small perceptrons with separate trunks for actor and critic. Hidden layers, activations and initialisation follow stable-baselines3's
`MlpPolicy` (tanh 64-64, orthogonal; Andrychowicz et al. 2021, arXiv 2006.05990, on why the last policy layer is small), so equal weights
can be copied between the two. Without hidden layers they are linear: over one-hot observations, tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.rl.envs import Box, Discrete, EnvSpec
from models.rl.errors import RLError

LOG_2PI = math.log(2 * math.pi)
LARGE = 2048
"""Numbers from which on it does not matter that three operations are called instead of one."""


def linear(n_in: int, n_out: int, gain: float, rng: torch.Generator) -> nn.Linear:
    """A layer with orthogonal weights times `gain` and zero bias."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    nn.init.orthogonal_(layer.weight, gain, generator=rng)
    nn.init.zeros_(layer.bias)
    return layer


class Perceptron(nn.Sequential):
    """Layers in a row, called without the ceremony of a module call each: with small batches that is half the time."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._modules.values():
            x = nn.functional.linear(x, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else layer.forward(x)
        return x


class Tanh(nn.Module):
    """`tanh`, of large batches as `2 sigma(2 x) - 1`: the same to 2e-7, in a quarter of the time of torch's own (AVX-512, torch 2.13)."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.numel() < LARGE:
            return x.tanh()
        return x.mul(2).sigmoid_().mul_(2).sub_(1)


def mlp(sizes: Sequence[int], last_gain: float, rng: torch.Generator, activation: type[nn.Module] = Tanh) -> Perceptron:
    """Layers of the sizes, the activation between them, none at the end; hidden gain sqrt 2."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        last = i == len(sizes) - 2
        layers += [linear(n_in, n_out, last_gain if last else math.sqrt(2), rng)] + ([] if last else [activation()])
    return Perceptron(*layers)


# --- distributions over actions ---


@dataclass(frozen=True)
class Categorical:
    """A distribution over numbered actions for each row of `logp` (B, A), normalised log-probabilities."""

    logp: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> Categorical:
        return cls(logits.log_softmax(-1))

    def sample(self, rng: torch.Generator) -> Tensor:
        """(B,) int64, by the Gumbel-max trick: argmax of log-probability minus log of an exponential draw."""
        wait = torch.empty_like(self.logp).exponential_(generator=rng)
        return (self.logp - wait.log()).argmax(-1)

    def mode(self) -> Tensor:
        return self.logp.argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        return self.logp.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """(B,) in nats."""
        return -(self.logp.exp() * self.logp).sum(-1)

    def kl_to(self, new: Categorical) -> Tensor:
        """`KL(self || new)` (B,): `sum p log(p / p_new)`."""
        return (self.logp.exp() * (self.logp - new.logp)).sum(-1)

    def pull(self, action: Tensor, log_prob: Tensor, entropy: float) -> tuple[Tensor, None]:
        """Gradient by the logits (B, A) of `sum(log_prob * log p(action)) + entropy * sum(H)`; there are no other parameters.

        `d log p_a / d logits = onehot(a) - p`, `d H / d logits = -p (log p + H)`.
        """
        p = self.logp.exp()
        by_logits = (p * -log_prob[:, None]).scatter_add_(1, action.long()[:, None], log_prob[:, None])
        if entropy:
            by_logits -= entropy * p * (self.logp + self.entropy()[:, None])
        return by_logits, None

    def detach(self) -> Categorical:
        return Categorical(self.logp.detach())


@dataclass(frozen=True)
class Gaussian:
    """Independent normals: `mean` (B, A), `log_std` (A,), the same in every state."""

    mean: Tensor
    log_std: Tensor

    def sample(self, rng: torch.Generator) -> Tensor:
        """(B, A), not clipped to the bounds: the environment clips, the log-probability belongs to what was drawn."""
        noise = torch.empty_like(self.mean).normal_(generator=rng)
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    def log_prob(self, action: Tensor) -> Tensor:
        z = (action - self.mean) * (-self.log_std).exp()
        return (-0.5 * z.square() - self.log_std - 0.5 * LOG_2PI).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 * (1 + LOG_2PI)).sum(-1).expand(len(self.mean))

    def kl_to(self, new: Gaussian) -> Tensor:
        """`KL(self || new)` (B,): `log(s' / s) + (s^2 + (m - m')^2) / (2 s'^2) - 1/2` summed over dimensions."""
        spread = (2 * self.log_std).exp() + (self.mean - new.mean).square()
        return (new.log_std - self.log_std + spread / (2 * (2 * new.log_std).exp()) - 0.5).sum(-1)

    def pull(self, action: Tensor, log_prob: Tensor, entropy: float) -> tuple[Tensor, Tensor]:
        """Gradient by the mean (B, A) and by the log standard deviation (A,) of `sum(log_prob * log p(action)) + entropy * sum(H)`.

        With `z = (a - m) / s`: `d log p / d m = z / s`, `d log p / d log s = z^2 - 1`, `d H / d log s = 1`.
        """
        narrow = (-self.log_std).exp()
        z = (action - self.mean) * narrow
        weighted = z * log_prob[:, None]
        return weighted * narrow, (weighted * z).sum(0) - log_prob.sum() + entropy * len(z)

    def detach(self) -> Gaussian:
        return Gaussian(self.mean.detach(), self.log_std.detach())


# --- policies ---


class CategoricalPolicy(nn.Module):
    """A softmax over numbered actions."""

    def __init__(self, obs_dim: int, n: int, hidden: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.net = mlp((obs_dim, *hidden, n), 0.01, rng)

    def forward(self, obs: Tensor) -> Categorical:
        return self.law(self.net(obs))  # (B, n)

    def law(self, logits: Tensor) -> Categorical:
        return Categorical.of(logits)

    def to_env(self, action: Tensor) -> Tensor:
        return action


class GaussianPolicy(nn.Module):
    """A normal with a learned mean and one learned log standard deviation a dimension, in the environment's own units."""

    def __init__(self, box: Box, obs_dim: int, hidden: Sequence[int], rng: torch.Generator, log_std: float = 0.0) -> None:
        super().__init__()
        self.net = mlp((obs_dim, *hidden, box.dim), 0.01, rng)
        self.log_std = nn.Parameter(torch.full((box.dim,), log_std))
        self.low, self.high = torch.tensor(box.low), torch.tensor(box.high)

    def forward(self, obs: Tensor) -> Gaussian:
        return self.law(self.net(obs))  # (B, A)

    def law(self, mean: Tensor) -> Gaussian:
        return Gaussian(mean, self.log_std)

    def to_env(self, action: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(action, self.low), self.high)


class DeterministicPolicy(nn.Module):
    """`mu(s)` in [-1, 1] by tanh; `to_env` stretches that to the bounds. Fan-in initialisation (DDPG, section 7)."""

    def __init__(self, box: Box, obs_dim: int, hidden: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.net = fan_in_mlp((obs_dim, *hidden, box.dim), rng)
        low, high = torch.tensor(box.low), torch.tensor(box.high)
        self.middle, self.half = (low + high) / 2, (high - low) / 2

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs).tanh()  # (B, A)

    def to_env(self, action: Tensor) -> Tensor:
        return self.middle + self.half * action.clamp(-1, 1)

    def from_env(self, action: Tensor) -> Tensor:
        return (action - self.middle) / self.half


def fan_in_mlp(sizes: Sequence[int], rng: torch.Generator, last: float = 3e-3) -> Perceptron:
    """ReLU layers with uniform weights within 1/sqrt(fan in), the last within `last` (DDPG, section 7)."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        is_last = i == len(sizes) - 2
        bound = last if is_last else 1 / math.sqrt(n_in)
        nn.init.uniform_(layer.weight, -bound, bound, generator=rng)
        nn.init.uniform_(layer.bias, -bound, bound, generator=rng)
        layers += [layer] if is_last else [layer, nn.ReLU()]
    return Perceptron(*layers)


def stochastic_policy(
    spec: EnvSpec, hidden: Sequence[int], rng: torch.Generator, log_std: float = 0.0
) -> CategoricalPolicy | GaussianPolicy:
    """The policy that fits an environment's actions."""
    if isinstance(spec.actions, Discrete):
        return CategoricalPolicy(spec.obs_dim, spec.actions.n, hidden, rng)
    return GaussianPolicy(spec.actions, spec.obs_dim, hidden, rng, log_std)


# --- critics ---


class Value(nn.Module):
    """`v(s)`."""

    def __init__(self, obs_dim: int, hidden: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.net = mlp((obs_dim, *hidden, 1), 1.0, rng)

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs).squeeze(-1)  # (B,)


class ActionValues(nn.Module):
    """`q(s, .)`, one output for each numbered action; zero at the start, so a linear one is an empty table."""

    def __init__(self, obs_dim: int, n: int, hidden: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.net = mlp((obs_dim, *hidden, n), 0.0, rng)

    def forward(self, obs: Tensor) -> Tensor:
        return self.net(obs)  # (B, n)


class ActionCritic(nn.Module):
    """`q(s, a)` of real actions in [-1, 1] that enter with the observation (stable-baselines3; at layer 2 in the paper)."""

    def __init__(self, obs_dim: int, action_dim: int, hidden: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.net = fan_in_mlp((obs_dim + action_dim, *hidden, 1), rng)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.net(torch.cat((obs, action), -1)).squeeze(-1)  # (B,)


def box_of(spec: EnvSpec, algorithm: str) -> Box:
    """The bounds of real actions, or a sentence if the environment has none."""
    if not isinstance(spec.actions, Box) or not spec.actions.bounded:
        raise RLError(
            f"{algorithm} needs bounded real-valued actions, which {spec.id} has not.", "Choose Pendulum-v1, or an algorithm such as PPO."
        )
    return spec.actions


def discrete_of(spec: EnvSpec, algorithm: str) -> Discrete:
    """The numbered actions, or a sentence if the environment has none."""
    if not isinstance(spec.actions, Discrete):
        raise RLError(
            f"{algorithm} needs numbered actions, which {spec.id} has not.",
            "Choose CartPole-v1 or a grid world, or an algorithm such as PPO.",
        )
    return spec.actions


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of several tensors in one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def set_flat(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    """Write a vector from `flat` back into parameters."""
    with torch.no_grad():
        start = 0
        for parameter in parameters:
            parameter.copy_(vector[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()


def explained_variance(predicted: Tensor, target: Tensor) -> float:
    """`1 - var(target - predicted) / var(target)`: 1 perfect, 0 no better than the mean, below 0 worse. NaN if the target is constant."""
    variance = target.var(correction=0)
    return float(1 - (target - predicted).var(correction=0) / variance) if float(variance) > 0 else math.nan


def soft_update(target: nn.Module, online: nn.Module, tau: float) -> None:
    """`theta' = tau theta + (1 - tau) theta'`."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)
