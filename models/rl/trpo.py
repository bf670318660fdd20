"""Trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477).

Maximise `L = E[rho A]` subject to mean `KL(pi_old || pi) <= delta`. To first order in L and second in KL the best step is along the natural
gradient `s = F^-1 g`, found by conjugate gradients from Fisher-vector products alone, as long as `sqrt(2 delta / s' F s)`; a line search
then shortens it until the true KL and the true L agree (appendix C). The critic is fitted apart. sb3-contrib measures KL(pi || pi_old),
which is the same to second order: steps agree, the line search may differ in the last accepted digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.rl import nets as networks
from models.rl.a2c import Batch, batch_of, spread
from models.rl.buffers import check_rollout
from models.rl.by_hand import Trace
from models.rl.envs import VecEnv
from models.rl.run import Pulse, Run, Settings, Tick, Update, begin, collect, progress_left, report, rng_of
from models.rl.settings import TRPOSettings

PROFILE = torch.linspace(0, 1.5, 31).tolist()
"""Fractions of the full step at which the pictures show KL and surrogate."""
PLANE = torch.linspace(-1.6, 1.6, 17)
"""Coordinates of the landscape on both axes, in full steps: the trust region has radius 1 there."""
PLANE_STATES = 2048
"""States of the rollout over which the landscape is worked out: all of them in the tuned setups, so that it agrees with the line search."""


@dataclass(frozen=True)
class Trial:
    """One try of the line search."""

    fraction: float  # of the full step
    kl: float
    gain: float  # of the surrogate
    accepted: bool


@dataclass(frozen=True)
class Profile:
    """KL and gain of the surrogate along the full step, for drawing what the line search went through."""

    fractions: Tensor
    kl: Tensor
    gain: Tensor


@dataclass(frozen=True)
class Landscape:
    """KL and surrogate in the plane of both gradients, measured as TRPO measures: by the KL divergence.

    x runs along the natural gradient, y along what the plain gradient has apart from it, at right angles in the metric of the Fisher matrix
    (damped, as for the step). Both count in steps whose quadratic KL is delta: there the trust region is the unit circle, the full step
    ends at (1, 0), and the plain gradient, allowed the same KL, at `plain`.
    """

    at: Tensor  # (n,) of both axes
    kl: Tensor  # (n, n), rows from low y to high y
    gain: Tensor  # (n, n)
    plain: tuple[float, float]  # of length 1
    plain_gain: float


@dataclass(frozen=True)
class TRPOView:
    """What an update did: direction, length, trials."""

    delta: float
    step_size: float  # beta: factor of the direction that makes the quadratic KL equal to delta
    cosine: float  # between plain and natural gradient
    gradient_norm: float
    residuals: tuple[float, ...]  # of the conjugate gradients, squared length before each iteration and after the last
    trials: tuple[Trial, ...]
    profile: Profile | None  # only when asked for
    advantages: Tensor
    returns: Tensor
    values: Tensor
    landscape: Landscape | None = None  # only when asked for

    @property
    def accepted(self) -> bool:
        return any(trial.accepted for trial in self.trials)


class Fisher:
    """Products with the Fisher matrix of a policy, `F v + damping v`, without ever writing the matrix down.

    F is the Hessian of the mean KL at the present parameters, `F v = grad((grad KL) . v)`; the old distribution is held fixed.
    """

    def __init__(self, policy: nn.Module, obs: Tensor, damping: float) -> None:
        self.parameters, self.damping = list(policy.parameters()), damping
        with torch.enable_grad():
            law = policy(obs)
            kl = law.detach().kl_to(law).mean()
            self.grad_kl = networks.flat(torch.autograd.grad(kl, self.parameters, create_graph=True))

    def __call__(self, v: Tensor) -> Tensor:
        with torch.enable_grad():
            parts = torch.autograd.grad(self.grad_kl @ v, self.parameters, retain_graph=True)
        return networks.flat(parts) + self.damping * v


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int, tolerance: float = 1e-10) -> tuple[Tensor, list[float]]:
    """Solve `A x = b` for a symmetric positive A known by its products; returns x and the squared residuals (Hestenes & Stiefel 1952)."""
    x, residual = torch.zeros_like(b), b.clone()
    direction, squared = b.clone(), b @ b
    history = [float(squared)]
    for _ in range(steps):
        if history[-1] < tolerance:
            break
        product_of = product(direction)
        alpha = squared / (direction @ product_of)
        x = x + alpha * direction
        residual = residual - alpha * product_of
        fresh = residual @ residual
        direction = residual + fresh / squared * direction
        squared = fresh
        history.append(float(squared))
    return x, history


def surrogate(law: networks.Categorical | networks.Gaussian, batch: Batch, advantages: Tensor) -> Tensor:
    """`E[rho A]` (eq. 14)."""
    return ((law.log_prob(batch.actions) - batch.log_probs).exp() * advantages).mean()


def start(env: VecEnv, settings: TRPOSettings, seed: int = 0, hidden: tuple[int, ...] = (64, 64)) -> Run:
    """A new run: fresh networks, all episodes begun."""
    check_rollout(env.n, settings.n_steps, env.spec.obs_dim, settings.batch_size)
    rng = rng_of(seed)
    policy = networks.stochastic_policy(env.spec, hidden, rng)
    value = networks.Value(env.spec.obs_dim, hidden, rng)
    optimizers = {"value": torch.optim.Adam(value.parameters(), lr=settings.lr, fused=True)}
    return begin("trpo", env, seed, {"policy": policy, "value": value}, optimizers, rng, hidden)


def never(_: str) -> bool:
    """No picture is wanted."""
    return False


def trpo(run: Run, settings: Settings, total: int, wants: Callable[[str], bool] = never) -> Iterator[Tick | Update]:
    """Learn until `total` environment steps have been made; `wants("profile")` is asked before every update."""
    pulse = Pulse()
    while run.timesteps < total:
        pulse.reset()
        pulse.wake()
        now, before = settings(), run.timesteps
        check_rollout(run.env.n, now.n_steps, run.env.spec.obs_dim, now.batch_size)
        rollout = yield from collect(run, now.n_steps, pulse)
        batch = batch_of(rollout, now.gamma, now.gae_lambda)
        rate = now.rate(progress_left(run, total))
        run.set_rate("value", rate)
        view, objective = improve(run.policy, batch, now, wants("profile"))
        value_loss = yield from fit_critic(run, batch, now, pulse)
        run.updates += 1
        metrics = told(run, batch, view, objective) | {"train/value_loss": value_loss, "train/learning_rate": rate}
        yield report(
            run, loss=-objective, metrics=metrics, total=total, pulse=pulse, steps_before=before,
            per_update=now.n_steps * run.env.n, view=view,
        )  # fmt: skip


def told(run: Run, batch: Batch, view: TRPOView, objective: float) -> dict[str, float]:
    with torch.no_grad():
        entropy = float(run.policy(batch.obs).entropy().mean())
    return {
        "train/policy_objective": objective,
        "train/kl_divergence_loss": view.trials[-1].kl if view.accepted else 0.0,
        "train/is_line_search_success": float(view.accepted),
        "train/entropy_loss": -entropy,
        "train/explained_variance": networks.explained_variance(batch.values, batch.returns),
        **spread(run),
    }


def improve(policy: nn.Module, batch: Batch, settings: TRPOSettings, profile: bool = False) -> tuple[TRPOView, float]:
    """The natural step and its line search; changes the policy. Returns what happened, and the surrogate afterwards."""
    advantages = batch.normalized_advantages if settings.normalize_advantage else batch.advantages
    parameters = list(policy.parameters())
    with torch.enable_grad():
        before = surrogate(policy(batch.obs), batch, advantages)
        gradient = networks.flat(torch.autograd.grad(before, parameters))
    fisher = Fisher(policy, batch.obs, settings.cg_damping)
    direction, residuals = conjugate_gradient(fisher, gradient, settings.cg_steps)
    curvature = float(direction @ fisher(direction))
    step_size = (2 * settings.target_kl / curvature) ** 0.5 if curvature > 0 else 0.0
    search = LineSearch(policy, batch, advantages, step_size * direction)
    around = landscape(search, gradient, fisher, settings.target_kl) if profile and step_size > 0 else None
    along = search.profile() if profile else None
    trials = search.run(settings)
    cosine = float(torch.nn.functional.cosine_similarity(gradient, direction, dim=0))
    view = TRPOView(
        delta=settings.target_kl, step_size=step_size, cosine=cosine, gradient_norm=float(gradient.norm()), residuals=tuple(residuals),
        trials=trials, profile=along, advantages=batch.advantages, returns=batch.returns, values=batch.values,
        landscape=around,
    )  # fmt: skip
    return view, search.before + (trials[-1].gain if trials[-1].accepted else 0.0)


class LineSearch:
    """Shorter and shorter parts of one step, until KL and surrogate both agree (appendix C)."""

    def __init__(self, policy: nn.Module, batch: Batch, advantages: Tensor, step: Tensor) -> None:
        self.policy, self.batch, self.advantages, self.step = policy, batch, advantages, step
        self.parameters = list(policy.parameters())
        self.origin = networks.flat([p.detach() for p in self.parameters])
        with torch.no_grad():
            self.old = policy(batch.obs)
            self.before = float(surrogate(self.old, batch, advantages))

    @torch.no_grad()
    def at(self, fraction: float) -> tuple[float, float]:
        """Mean `KL(pi_old || pi)` and gain of the surrogate with this part of the step taken; the policy is left there."""
        return self.to(self.origin + fraction * self.step)

    @torch.no_grad()
    def to(self, weights: Tensor) -> tuple[float, float]:
        """The same with any weights."""
        networks.set_flat(self.parameters, weights)
        law = self.policy(self.batch.obs)
        return float(self.old.kl_to(law).mean()), float(surrogate(law, self.batch, self.advantages)) - self.before

    def thinned(self, rows: int) -> LineSearch:
        """The same search seen through at most so many of the states, evenly taken."""
        n = len(self.batch)
        if n <= rows:
            return self
        few = torch.linspace(0, n - 1, rows).long()
        return LineSearch(self.policy, self.batch[few], self.advantages[few], self.step)

    def run(self, settings: TRPOSettings) -> tuple[Trial, ...]:
        """Try, shrink, try; if nothing is accepted the policy is as it was."""
        trials = []
        for j in range(settings.line_search_steps):
            fraction = settings.line_search_shrink**j
            kl, gain = self.at(fraction)
            accepted = kl <= settings.target_kl and gain > 0  # false also for NaN
            trials.append(Trial(fraction, kl, gain, accepted))
            if accepted:
                return tuple(trials)
        networks.set_flat(self.parameters, self.origin)
        return tuple(trials)

    def profile(self) -> Profile:
        """The whole way, for a picture; leaves the policy as it was."""
        kl, gain = zip(*map(self.at, PROFILE), strict=True)
        networks.set_flat(self.parameters, self.origin)
        return Profile(torch.tensor(PROFILE), torch.tensor(kl), torch.tensor(gain))


def landscape(search: LineSearch, gradient: Tensor, fisher: Fisher, delta: float) -> Landscape | None:
    """What the update looks like in the plane of the two gradients; None if they are parallel. Leaves the policy as it was."""
    along, budget = search.step, 2 * delta  # along' F along = budget
    slope = gradient @ fisher(along) / budget
    aside = gradient - slope * along
    length = (aside @ fisher(aside) / budget).sqrt()
    if not float(length) > 1e-3 * float(slope.abs()):
        return None
    across, few = aside / length, search.thinned(PLANE_STATES)
    plain = torch.stack((slope, length)) / (slope.square() + length.square()).sqrt()
    found = torch.tensor([few.to(few.origin + x * along + y * across) for y in PLANE for x in PLANE])
    plain_gain = few.to(few.origin + plain[0] * along + plain[1] * across)[1]
    networks.set_flat(search.parameters, search.origin)
    kl, gain = found.view(len(PLANE), len(PLANE), 2).unbind(-1)
    return Landscape(PLANE, kl, gain, (float(plain[0]), float(plain[1])), plain_gain)


def fit_critic(run: Run, batch: Batch, settings: TRPOSettings, pulse: Pulse) -> Iterator[Tick]:
    """Regression of the value on the returns; the generator's return value is the mean loss."""
    losses = []
    for epoch in range(settings.n_critic_updates):
        for rows in torch.randperm(len(batch), generator=run.rng).split(settings.batch_size):
            losses.append(learn_value(run, batch[rows]))
            if pulse.due():
                pulse.rest()
                yield Tick(phase="optimising", done=epoch, total=settings.n_critic_updates, timesteps=run.timesteps)
                pulse.wake()
    return float(torch.stack(losses).mean()) if losses else 0.0


@torch.no_grad()
def learn_value(run: Run, batch: Batch) -> Tensor:
    """One step of the critic, its gradient by hand, and unclipped as in sb3-contrib."""
    trace = Trace(run.nets["value"].net, batch.obs)
    wrong = trace.output.squeeze(-1) - batch.returns
    trace.pull(wrong[:, None] * (2 / len(batch)))
    run.optimizers["value"].step()
    return wrong.square().mean()
