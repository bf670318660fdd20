"""What the inspector says: the run in numbers, its update as an equation with the numbers in it, or the metric or lamp pressed."""

from __future__ import annotations

from dataclasses import dataclass

from app.panels.rl.metrics import METRICS, RETURN, metric
from app.panels.rl.training import Training
from app.panels.rl.trainings import title_of
from app.protocol.rl import Setup
from app.widgets.fact_rows import Row
from app.widgets.number_field import written

INTRO = (
    "An agent acts in an environment, gets rewards, and an algorithm changes its policy so that it gets more. Choose both at the left and "
    "press Train: the return grows here, the agent moves, and every figure is explained where it stands."
)
ALGORITHMS: dict[str, tuple[str, str]] = {
    "ppo": (
        "Proximal policy optimisation goes over each rollout several times, and cuts off the gain of samples whose probability has moved "
        "too far, so that one batch cannot break the policy.",
        "arXiv 1707.06347",
    ),
    "trpo": (
        "Trust region policy optimisation takes the natural gradient step that fits into a ball of KL divergence δ, and shortens it until "
        "it measurably does.",
        "arXiv 1502.05477",
    ),
    "a2c": (
        "Advantage actor-critic makes one gradient step a short rollout: actions that turned out better than the critic expected become "
        "likelier.",
        "arXiv 1602.01783",
    ),
    "ddpg": (
        "Deep deterministic policy gradient learns Q from a replay buffer against slow target networks, and moves the actor uphill on it; "
        "noise alone explores.",
        "arXiv 1509.02971",
    ),
    "qac": ("The simplest actor-critic: Sarsa learns q after every step, and q weighs the policy gradient.", "Sutton et al. 2000"),
    "off-policy-ac": (
        "Another policy acts, and the ratio ρ of the two corrects both updates; without a limit it can explode, which is shown.",
        "arXiv 1205.4839",
    ),
    "deterministic-ac": (
        "The actor names one action, the critic's slope at it says where a better one lies; neither replay nor target networks.",
        "Silver et al. 2014",
    ),
}
_FORMS = {
    "ppo": "L = −E min(ρA, clip(ρ, 1 ± {clip_range})A)\n    + {vf_coef} (V − R)² − {ent_coef} H",
    "a2c": "L = −E[A log π] + {vf_coef} (V − R)² − {ent_coef} H\nA = R − V over {n_steps} steps, λ = {gae_lambda}",
    "trpo": "max E[ρA]  with  mean KL(π_old ‖ π) ≤ {target_kl}\nθ + {line_search_shrink}^j √(2δ / sᵀHs) s,  s ≈ H⁻¹g",
    "ddpg": "y = r + {gamma} Q′(s′, μ′(s′)),  L = (Q − y)²\nθ′ ← {tau} θ + (1 − {tau}) θ′,  noise σ = {noise}",
    "qac": "δ = r + {gamma} q(s′,a′) − q(s,a)\nθ ← θ + {lr} ∇log π(a|s) q(s,a)",
    "off-policy-ac": "δ = r + {gamma} v(s′) − v(s),  ρ = π/b ≤ {rho_clip}\nθ ← θ + {lr} ρ δ ∇log π(a|s)",
    "deterministic-ac": "δ = r + {gamma} q(s′, μ(s′)) − q(s,a)\nθ ← θ + {lr} ∇μ(s) ∇ₐq(s,a)",
}


@dataclass(frozen=True)
class Told:
    """What the inspector shows."""

    name: str
    rows: tuple[Row, ...] = ()
    equation: str = ""
    explanation: str = INTRO
    reference: str = ""


def told(training: Training | None, chosen: str = "") -> Told:
    """About a training, and a metric or lamp of it if one was pressed."""
    if training is None:
        return Told("Reinforcement learning")
    if chosen in METRICS or "/" in chosen:
        return of_metric(training, chosen)
    lamp = next((lamp for lamp in training.lamps if lamp.name == chosen), None)
    if lamp is not None:
        return Told(f"Lamp: {lamp.name}", ((lamp.verdict, lamp.sentence),), "", LAMPS.get(lamp.name, ""), THUMB)
    algo = training.run_setup.algo
    words, paper = ALGORITHMS.get(algo, ("", ""))
    name = f"{title_of(training)}, seed {training.run_setup.seed}"
    return Told(name, tuple(rows(training)), equation(algo, training.setup), words, paper)


def of_metric(training: Training, name: str) -> Told:
    """A metric: its number now, how it is computed, what is healthy."""
    one, columns = metric(name), training.evals if name.startswith("eval/") else training.metrics
    value = columns.last(name)
    now = "not told yet" if value != value else f"{value:.5g}{f' {one.unit}' if one.unit else ''}"
    words = f"{one.what}\n\n{one.healthy}".strip()
    return Told(one.title, (("Now", now), ("Name", name)), one.equation, words, "Named as in stable-baselines3.")


def rows(training: Training) -> list[Row]:
    """The run in numbers."""
    here, evals = training.metrics, training.evals
    found: list[Row] = [("Environment", training.run_setup.env), ("Steps", training.words().partition(", ")[0], training.words())]
    if (value := here.last(RETURN)) == value:
        found.append(("Return", f"{value:.4g}", METRICS[RETURN].tip))
    if (mean := evals.last("eval/mean_reward")) == mean:
        spread = f"{mean:.4g} ± {evals.last('eval/std_reward', 0.0):.3g}"
        found.append(("Evaluation", spread, METRICS["eval/mean_reward"].tip))
    if training.setup is not None and training.setup.reference is not None:
        known = training.setup.reference
        found.append(("Published", f"{known.mean:g} ± {known.std:g} at {known.timesteps:,}", known.source))
        found.append(("Against it", pace(training)))
    if (fps := here.last("time/fps")) == fps:
        found.append(("Speed", f"{fps:,.0f} steps/s", METRICS["time/fps"].tip))
    return found


def pace(training: Training) -> str:
    """Early, on track or late, beside the published result: its steps are the only moment that is published."""
    known = training.setup.reference
    value, steps = training.metrics.last(RETURN), training.steps
    if value != value:
        return "no episode has ended yet"
    if value >= known.mean - known.std:
        return "early, it is there already" if steps < known.timesteps else "there"
    return f"on the way, {known.timesteps - steps:,} steps left" if steps < known.timesteps else "late, still below it"


def equation(algo: str, setup: Setup | None) -> str:
    """The update with the settings in use."""
    if setup is None or algo not in _FORMS:
        return ""
    values = {item.name: "∞" if item.value is None else written(item.value) for item in setup.settings}
    try:
        return _FORMS[algo].format(**values)
    except KeyError:  # a setting of that name is no more
        return ""


THUMB = "Thresholds are rules of thumb; they say where to look and prove nothing."
LAMPS = {
    "KL": "How far each update moves the policy. Too far, and the data it was computed from says nothing about where it ends.",
    "Critic": "Whether the values foretell the returns. Advantages are differences to them: a bad critic means noisy updates.",
    "Exploration": "Whether the policy still tries different actions. What is never tried is never learned.",
    "Clipping": "How many samples PPO ignores because they have moved out of the clip band.",
    "Signal": "Whether advantages differ at all. If all actions look equally good there is nothing to learn from.",
    "Return": "Whether the return has risen, stands still, or has fallen from its best.",
}
