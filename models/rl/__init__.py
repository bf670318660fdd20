"""Reinforcement learning, from a grid world to PPO: environments, networks, algorithms, and what a view needs to see inside.

Every algorithm is a generator over a `Run` (`run.py`): it yields a `Tick` now and then while it collects or optimises, and an
`Update` after each change of the policy. Everything that changes lives in the run, so a snapshot of it is the whole state.

Reading order: `envs.py`, `nets.py`, `gae.py`, `run.py`, `actor_critic.py`, `a2c.py`, `ppo.py`, `trpo.py`, `ddpg.py`; then
`algorithms.py` (the table), `presets.py`, `healthy.py`, `snapshots.py`, `evaluation.py`, `planes.py`.
"""
