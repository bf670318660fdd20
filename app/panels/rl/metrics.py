"""What every metric is, in a sentence, and what a healthy one looks like. Names are stable-baselines3's.

One table for plots, tooltips and the inspector. Definitions follow the documentation of stable-baselines3 ("Logger"); what is usual
follows Huang et al. 2022 ("The 37 implementation details of PPO") and is a rule of thumb, no law.
"""

from __future__ import annotations

from dataclasses import dataclass

RETURN = "rollout/ep_rew_mean"


@dataclass(frozen=True)
class Metric:
    """One number of a training. `what` says how it is computed, `healthy` what to look for."""

    title: str
    what: str
    healthy: str = ""
    unit: str = ""
    equation: str = ""

    @property
    def tip(self) -> str:
        """Both sentences."""
        return f"{self.what} {self.healthy}".strip()


METRICS: dict[str, Metric] = {
    RETURN: Metric(
        "Return", "Sum of the rewards of an episode, not discounted, mean of the last 100 episodes of training.",
        "It should rise. These episodes are played with exploration, so the evaluation beside it may be higher.", equation="G = Σ r_t",
    ),
    "rollout/ep_len_mean": Metric(
        "Episode length", "Steps until an episode ends, mean of the last 100.",
        "In CartPole longer is better and equals the return; where a goal is to be reached, shorter is.", "steps",
    ),
    "eval/mean_reward": Metric(
        "Evaluation", "Mean return of whole episodes played apart from training, each time with the action the policy thinks best.",
        "This is the figure that results are compared by; the bar is one standard deviation of its episodes.",
    ),
    "eval/std_reward": Metric("Spread of the evaluation", "Standard deviation of the returns of one evaluation."),
    "eval/q_predicted": Metric(
        "Q predicted", "What the critic promises at the first step of an evaluated episode.", "Above Q obtained: it overestimates.",
    ),
    "eval/q_obtained": Metric("Q obtained", "Discounted return that the evaluated episodes really brought."),
    "eval/mean_ep_length": Metric("Length in evaluation", "Steps of an episode in evaluation.", unit="steps"),
    "train/approx_kl": Metric(
        "Approx. KL", "How far the update has moved the policy, estimated on the samples it learned from.",
        "Usually below 0.02; a jump means the update was too large: fewer epochs or a lower rate.", "nats", "mean((ρ − 1) − log ρ)",
    ),
    "train/kl_divergence_loss": Metric(
        "KL divergence", "Mean KL divergence between the old policy and the new one, exact for each state of the batch.",
        "TRPO accepts a step only at or below delta (target_kl).", "nats", "mean KL(π_old ‖ π)",
    ),
    "train/clip_fraction": Metric(
        "Clip fraction", "Share of the samples whose probability ratio has left the clip band, so that their gradient is cut off.",
        "About 0.05 to 0.3. At zero clipping does nothing; above a half most of the data is ignored.", "", "mean(|ρ − 1| > ε)",
    ),
    "train/clip_range": Metric("Clip range", "How far a probability ratio may move before its gain is cut off.", equation="1 − ε … 1 + ε"),
    "train/entropy_loss": Metric(
        "Entropy loss", "Negative entropy of the policy: the closer to zero, the surer it is of its actions.",
        "It should rise slowly towards zero; at once means that exploration ended before it found anything.", "nats", "−H(π) = mean log π",
    ),
    "train/explained_variance": Metric(
        "Expl. variance", "How much of the variance of the returns the critic's values foretell.",
        "1 is perfect, 0 no better than a constant, below 0 worse than that.", "", "1 − Var(R − V) / Var(R)",
    ),
    "train/policy_gradient_loss": Metric(
        "Policy loss", "The clipped surrogate that is minimised. Its level means little: advantages are normalised, and samples change.",
        "Small and slightly negative is usual.", "", "−mean min(ρA, clip(ρ)A)",
    ),
    "train/policy_loss": Metric(
        "Policy loss", "Log-probabilities weighted by advantages, negative. Its level means little, since the samples change.", "", "",
        "−mean A log π",
    ),
    "train/policy_objective": Metric(
        "Surrogate", "The gain in advantage that TRPO promises itself from its step, measured on its samples.",
        "Above zero after every accepted step.", "", "mean ρA",
    ),
    "train/value_loss": Metric(
        "Value loss", "Mean squared error of the critic's values against the returns.",
        "It often rises first, because returns do, and falls when they settle.", "", "mean (V − R)²",
    ),
    "train/loss": Metric("Loss", "What the optimiser is given: policy loss, weighted value loss, weighted entropy."),
    "train/actor_loss": Metric(
        "Actor loss", "The critic's opinion of the actor's actions, negative.",
        "Falls as the actor finds actions the critic likes; whether they are good is for the return to say.", "", "−mean Q(s, μ(s))",
    ),
    "train/critic_loss": Metric(
        "Critic loss", "Squared error of Q against the reward plus the discounted value of the next state.",
        "May rise with the size of the returns; without an end it means divergence.", "", "mean (Q − y)²",
    ),
    "train/learning_rate": Metric("Learning rate", "The rate in use, with its decay over the run.", "Live: turn it while it trains."),
    "train/std": Metric("Action spread", "Standard deviation of the Gaussian policy, mean over the actions.", "It shrinks as it learns."),
    "train/is_line_search_success": Metric(
        "Line search", "1 when a step inside the trust region was found, 0 when the policy was left as it was.",
        "Mostly 1; long stretches of 0 mean that nothing is learned.",
    ),
    "train/n_updates": Metric("Updates", "As stable-baselines3 counts them: epochs of optimisation for PPO, else changes of the policy."),
    "train/grad_norm": Metric("Gradient norm", "Length of the gradient before it is cut.", "Peaks come before a broken policy."),
    "train/q_mean": Metric("Mean Q", "What the critic promises for the batch.", "Far above true returns means that it overestimates."),
    "train/rho_mean": Metric("Mean ratio", "Mean of π(a|s) / b(a|s), the weight of off-policy samples.", "About 1.", "", "ρ = π / b"),
    "train/rho_max": Metric("Largest ratio", "The largest importance weight of an update.", "Without a limit (rho_clip) it may explode."),
    "time/fps": Metric(
        "Speed", "Environment steps a second of work, without the time the run stood still.", "", "steps/s",
    ),
    "time/total_timesteps": Metric("Steps", "Environment steps so far, of all copies together.", unit="steps"),
    "time/iterations": Metric("Iterations", "Updates so far."),
    "time/time_elapsed": Metric("Time", "Seconds of work since the run began.", unit="s"),
}  # fmt: skip


def metric(name: str) -> Metric:
    """The entry of a name; one that is not in the table is shown by its own name."""
    return METRICS.get(name) or Metric(name.rsplit("/", 1)[-1].replace("_", " ").capitalize(), f"{name}, as the algorithm reports it.")


SIX: dict[str, tuple[str, ...]] = {
    "ppo": ("train/approx_kl", "train/clip_fraction", "train/entropy_loss", "train/explained_variance", "train/value_loss", "time/fps"),
    "trpo": (
        "train/kl_divergence_loss", "train/policy_objective", "train/is_line_search_success", "train/explained_variance",
        "train/value_loss", "time/fps",
    ),
    "a2c": (
        "train/policy_loss", "train/value_loss", "train/entropy_loss", "train/explained_variance", "train/learning_rate", "time/fps",
    ),
    "ddpg": ("train/actor_loss", "train/critic_loss", "train/q_mean", "rollout/ep_len_mean", "train/learning_rate", "time/fps"),
    "qac": ("train/policy_loss", "train/critic_loss", "train/entropy_loss", "train/grad_norm", "rollout/ep_len_mean", "time/fps"),
    "off-policy-ac": (
        "train/policy_loss", "train/critic_loss", "train/entropy_loss", "train/rho_mean", "train/rho_max", "time/fps",
    ),
    "deterministic-ac": (
        "train/actor_loss", "train/critic_loss", "train/grad_norm", "rollout/ep_len_mean", "train/learning_rate", "time/fps",
    ),
}  # fmt: skip
"""The small plots of an algorithm."""


def small_plots(algo: str, told: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of the six small plots of an algorithm; for one without a list, what it tells, losses first."""
    if algo in SIX:
        return SIX[algo]
    train = [name for name in told if name.startswith("train/") and name != "train/n_updates"]
    return tuple(dict.fromkeys([*train, "rollout/ep_len_mean", "time/fps", "train/learning_rate"]))[:6]
