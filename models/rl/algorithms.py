"""The algorithms by name: how a run of each begins and goes on, its settings, and the actions it can handle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.rl import a2c, actor_critic, ddpg, ppo, settings, trpo
from models.rl.envs import Discrete, EnvSpec
from models.rl.errors import RLError
from models.rl.run import Run, Tick, Update


@dataclass(frozen=True)
class Algorithm:
    """`start(env, settings, seed, hidden) -> Run`, `train(run, settings_callable, total) -> Iterator[Tick | Update]`."""

    title: str
    settings: type[settings.Checked]
    start: Callable[..., Run]
    train: Callable[..., Iterator[Tick | Update]]
    discrete: bool
    continuous: bool
    hidden: tuple[int, ...] = (64, 64)

    def check(self, spec: EnvSpec) -> None:
        """Raise `RLError` if the environment's actions do not suit."""
        is_discrete = isinstance(spec.actions, Discrete)
        if (is_discrete and not self.discrete) or (not is_discrete and not self.continuous):
            kind = "numbered" if is_discrete else "real-valued"
            fitting = [a.title for a in ALGORITHMS.values() if (a.discrete if is_discrete else a.continuous)]
            raise RLError(f"{self.title} cannot handle the {kind} actions of {spec.id}.", f"Choose one of {', '.join(fitting)}.")


ALGORITHMS = {
    "qac": Algorithm("QAC", settings.QACSettings, actor_critic.start_qac, actor_critic.qac, True, False),
    "a2c": Algorithm("A2C", settings.A2CSettings, a2c.start, a2c.a2c, True, True),
    "off-policy-ac": Algorithm(
        "Off-policy actor-critic", settings.OffPolicySettings, actor_critic.start_off_policy, actor_critic.off_policy, True, True
    ),
    "deterministic-ac": Algorithm(
        "Deterministic actor-critic", settings.DeterministicSettings, actor_critic.start_deterministic, actor_critic.deterministic,
        False, True,
    ),
    "ddpg": Algorithm("DDPG", settings.DDPGSettings, ddpg.start, ddpg.ddpg, False, True, (400, 300)),
    "trpo": Algorithm("TRPO", settings.TRPOSettings, trpo.start, trpo.trpo, True, True),
    "ppo": Algorithm("PPO", settings.PPOSettings, ppo.start, ppo.ppo, True, True),
}  # fmt: skip


def algorithm(name: str) -> Algorithm:
    """The algorithm of a name, or a sentence."""
    if name not in ALGORITHMS:
        raise RLError(f"There is no algorithm named '{name}'.", f"Choose one of {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
