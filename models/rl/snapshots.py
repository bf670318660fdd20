"""Copies of a run: to go on after a crash, to go back, and to watch the policy of any moment again.

A `Snapshot` holds everything (weights, optimizers, noise, episodes, replay buffer); a run restored from it goes on bit for bit as it would
have, in the batched environments. gymnasium's environments cannot be copied: there the run goes on with new episodes. Files are
safetensors, never pickles. `PolicyHistory` keeps policies alone, spread evenly over the whole run, within a budget of bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.rl.envs import Box, EnvSpec
from models.rl.errors import RLError
from models.rl.run import Run

FORMAT = "glassbox-rl-1"


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. `facts` are plain values: what run it was, and its counters."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def take(run: Run, *, with_replay: bool = True) -> Snapshot:
    """Copy a run, between two updates. Without its replay buffer a run restored begins with an empty one."""
    tensors = {f"nets.{name}": value.detach().clone() for name, value in run.nets.state_dict().items()}
    for name, optimizer in run.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": torch.as_tensor(value).clone() for key, value in state.items()}
    tensors |= {"rng": run.rng.get_state(), "obs": run.obs.clone(), "returns": run.returns.clone(), "lengths": run.lengths.clone()}
    tensors["recent"] = torch.tensor(list(run.recent), dtype=torch.float64).reshape(-1, 2)
    tensors |= {f"env.{name}": value for name, value in (run.env.get_state() or {}).items()}
    if "replay" in run.extra:
        tensors |= {f"replay.{name}": value for name, value in run.extra["replay"].get_state().items()} if with_replay else {}
        tensors["noise"] = run.extra["noise"].value.clone()
    if "action" in run.extra:
        tensors["action"] = run.extra["action"].clone()
    counters = {"timesteps": run.timesteps, "updates": run.updates, "epochs": run.extra.get("epochs", 0)}
    return Snapshot(tensors, identity(run) | counters)


def identity(run: Run) -> dict[str, Any]:
    """What a snapshot and the run it is put into must agree in."""
    setup = {"env": run.env.spec.id, "n_envs": run.env.n, "hidden": list(run.hidden), "seed": run.seed}
    return {"format": FORMAT, "algorithm": run.algorithm, **setup}


def restore(run: Run, snapshot: Snapshot) -> None:
    """Put a run, made by the algorithm's `start`, where the snapshot was taken. The seed may differ: the noise comes from the snapshot."""
    for key, mine in identity(run).items():
        theirs = snapshot.facts.get(key)
        if theirs != mine and key != "seed":
            raise RLError(f"The snapshot has {key} {theirs}, this run {mine}.", "Choose the same setup, or another snapshot.")
    try:
        _restore(run, snapshot.tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        raise RLError("The snapshot is damaged: its numbers do not fit the run.", "Choose an earlier one.") from error
    run.timesteps, run.updates = snapshot.facts["timesteps"], snapshot.facts["updates"]
    if "epochs" in run.extra:
        run.extra["epochs"] = snapshot.facts["epochs"]


def _restore(run: Run, tensors: dict[str, Tensor]) -> None:
    run.nets.load_state_dict(_under(tensors, "nets."))
    for name, optimizer in run.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, f"optimizer.{name}.").items():
            index, _, entry = key.partition(".")
            state.setdefault(int(index), {})[entry] = value.clone()
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    run.rng.set_state(tensors["rng"])
    run.recent.clear()
    run.recent.extend(map(tuple, tensors["recent"].tolist()))
    run.ended.clear()
    if "replay" in run.extra:
        run.extra["noise"].value = tensors["noise"].clone()
        if "replay.rewards" in tensors:
            run.extra["replay"].set_state(_under(tensors, "replay."))
    env = _under(tensors, "env.")
    if not env:  # new episodes in an environment that cannot be copied
        run.obs, run.returns, run.lengths = run.env.reset(run.seed + 1), torch.zeros(run.env.n), torch.zeros(run.env.n)
        return
    run.env.set_state(env)
    run.obs, run.returns, run.lengths = (tensors[name].clone() for name in ("obs", "returns", "lengths"))
    if "action" in run.extra:
        run.extra["action"] = tensors["action"].clone()


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


# --- files ---


def save(snapshot: Snapshot, path: Path) -> None:
    """Write beside an older file first, then take its place: an interrupted save destroys nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    tensors = {key: value.detach().cpu().contiguous() for key, value in snapshot.tensors.items()}
    save_file(tensors, str(fresh), metadata={"glassbox": json.dumps(snapshot.facts)})
    os.replace(fresh, path)


def load(path: Path) -> Snapshot:
    """Read a snapshot; a file that is none, or damaged, becomes a sentence."""
    try:
        with safe_open(str(path), "pt") as file:
            facts = json.loads((file.metadata() or {})["glassbox"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except FileNotFoundError as error:
        raise RLError(f"There is no file {path.name}.", "Choose another snapshot.") from error
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise RLError(f"{path.name} is not a snapshot of a training run, or is damaged.", "Choose another file.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise RLError(f"{path.name} was written by another version.", f"Only format {FORMAT} can be read.")
    return Snapshot(tensors, facts)


def policy_file(policy: nn.Module, spec: EnvSpec, facts: dict[str, str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of `policy.safetensors`: the policy alone, with what is needed to use it elsewhere."""
    box = spec.actions
    actions = {"low": list(box.low), "high": list(box.high)} if isinstance(box, Box) else {"n": box.n}
    told = {"env": spec.id, "obs_dim": spec.obs_dim, "actions": actions, "activation": "relu" if _has_relu(policy) else "tanh"}
    return {name: value.detach().clone() for name, value in policy.state_dict().items()}, {"policy": json.dumps(told), **facts}


def _has_relu(policy: nn.Module) -> bool:
    return any(isinstance(module, nn.ReLU) for module in policy.modules())


# --- the policy time machine ---


@dataclass(frozen=True)
class Kept:
    """The policy after an update."""

    update: int
    timesteps: int
    weights: dict[str, Tensor]


class PolicyHistory:
    """Policies along a run, bounded: when the budget is full every second one goes, and from then on half as many are kept.

    So they stay spread over the whole run, however long it lasts; the first and the newest are always there.
    """

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self.max_bytes, self.every = max_bytes, 1
        self.kept: list[Kept] = []
        self.newest: Kept | None = None

    def add(self, update: int, timesteps: int, policy: nn.Module) -> None:
        """Offer the policy after an update; it is copied."""
        weights = {name: value.detach().clone() for name, value in policy.state_dict().items()}
        self.newest = Kept(update, timesteps, weights)
        if self.kept and update < self.kept[-1].update + self.every:
            return
        self.kept.append(self.newest)
        each = sum(value.numel() * value.element_size() for value in weights.values())
        while len(self.kept) > max(2, self.max_bytes // each):
            self.kept = self.kept[::2]
            self.every *= 2

    def at(self, timesteps: int) -> Kept:
        """The last policy kept that is no newer than the moment asked for; the first if there is none."""
        all_of_them = [*self.kept, *([self.newest] if self.newest else [])]
        if not all_of_them:
            raise RLError("No policy has been kept yet.", "Wait for the first update.")
        earlier = [kept for kept in all_of_them if kept.timesteps <= timesteps]
        return earlier[-1] if earlier else all_of_them[0]

    def bytes(self) -> int:
        return sum(value.numel() * value.element_size() for kept in self.kept for value in kept.weights.values())
