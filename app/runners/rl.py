"""Runner of `train-rl`: drives an algorithm's generator, tells what happens, keeps it on the disk, and lets itself be watched.

The algorithm yields a `Tick` every 1.5 ms of work and an `Update` after each change of the policy. Watching never trains: the agent on
show lives in an environment of its own, and each picture may take a twentieth of the time at most.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from app.jobs.rl import TrainRl
from app.protocol import rl as told
from app.protocol.errors import UserError, for_people
from app.protocol.events import Event, Preview, Progress, Record, Step
from app.protocol.payloads import Result
from app.runners import rl_folder as folders
from app.runners import rl_setup as setups
from app.runners import rl_watch as watching
from app.runners.rl_events import event_file
from app.runners.rl_setup import Chosen
from app.storage import write_now
from app.worker.context import Ctx
from models.rl import healthy, snapshots
from models.rl.envs import Box, Discrete
from models.rl.errors import RLError
from models.rl.evaluation import evaluating
from models.rl.run import Run, Tick, Update

REPORT_S, LAMPS_S, SAVE_S, KEEP_S = 0.2, 1.0, 5.0, 0.25
YIELD_S = 0.016
FRAME_S, MAP_S = 0.05, 0.5
SHARE = 20
"""A picture, or a save, may take one of so many parts of the time."""
DENSE_ROWS = 10_000
"""Updates that have a row of metrics each; of the next as many, every two share one, then every three …: long runs stay readable."""
HISTORY = 400
NOISE = 400
EVAL_SEED = 10_000

Events = Iterator[Event]


def train_rl(job: TrainRl, ctx: Ctx) -> Generator[Event, None, Result]:
    """Train, from the beginning or from where a run was saved."""
    yield Progress(done=0, note="preparing")
    if job.device not in ("auto", "cpu"):
        raise UserError("Reinforcement learning runs on the processor here.", hint="Its networks are small; choose auto.")
    chosen, seed, folder = resumed(job) if job.resume else begun(job, ctx.seed)
    run = chosen.algorithm.start(chosen.make(chosen.n_envs), chosen.settings, seed, chosen.hidden)
    folder = folder or folders.new(folders.root_of(job.folder), chosen.words(seed))  # only now: all that was asked for fits
    with closing(folders.hold(folder.path)):
        session = Session(job, ctx, chosen, seed, folder, run)
        try:
            session.open()
            yield from session.work()
            result = session.result()
            folder.say(state="finished")
        except BaseException as error:
            session.ended_by(error)
            raise
        finally:
            session.close()
        yield Record(channel="card", payload=folder.card())
    return result


def begun(job: TrainRl, seed: int) -> tuple[Chosen, int, None]:
    """A new run, which has no folder yet."""
    if job.setup:
        words = told.parse_setup(job.setup)
        job, seed = with_words(job, words), words.seed
    return setups.choose(job), seed, None


def with_words(job: TrainRl, words: told.RunSetup) -> TrainRl:
    """The job with the fields that a setup names."""
    return replace(
        job, algo=words.algo, env=words.env, total_timesteps=words.total, n_envs=words.n_envs, hidden=words.hidden, backend=words.backend,
        settings=words.settings, setup="",
    )  # fmt: skip


def resumed(job: TrainRl) -> tuple[Chosen, int, folders.RunFolder]:
    """A run of the list that goes on; asked for more steps than it had, it is extended."""
    folder = folders.opened(folders.find(job.resume, job.folder))
    words = folder.setup
    words = replace(words, total=max(words.total, job.total_timesteps))
    return setups.choose(with_words(job, words)), words.seed, folder


class Session:
    """One sitting of a run: from its beginning, or from where it was resumed, to its end or its stop."""

    def __init__(self, job: TrainRl, ctx: Ctx, chosen: Chosen, seed: int, folder: folders.RunFolder, run: Run) -> None:
        self.job, self.ctx, self.chosen, self.seed, self.folder, self.run = job, ctx, chosen, seed, folder, run
        self.now = chosen.settings
        self.text = job.settings
        self.seconds = float(folder.facts.get("seconds", 0.0))
        self.waiting: list[Event] = []
        self.rows = Rows()
        self.history: list[dict[str, float]] = []
        self.episodes: list[torch.Tensor] = []
        self.noise: deque[list[float]] = deque(maxlen=NOISE)
        self.watcher: watching.Watcher | None = None
        self.judged: Any = None  # environment of the evaluations
        self.latest: snapshots.Snapshot | None = None
        self.between = True
        self.wanted_inside = self.blind = False
        self.last: Update | None = None
        self.due: dict[str, float] = {}
        self.eval: told.RlRow | None = None
        self.shown: told.Setup | None = None

    # --- beginning and end ---

    def open(self) -> None:
        """Take up what is on the disk, and say so."""
        folder, again = self.folder, (self.folder.path / folders.CHECKPOINT).is_file()
        if again:
            snapshots.restore(self.run, snapshots.load(folder.path / folders.CHECKPOINT))
            folder.cut(self.run.timesteps)
            if folder.facts.get("settings"):
                self.now = setups.changed(self.chosen.preset.settings, told.parse_settings(folder.facts["settings"]))
            self.history = [dict(row.metrics) for row in folders.rows_of(folder.metrics)[-HISTORY:]]
        if self.job.resume and self.text:
            self._turn(self.text)
        folder.say(state="running", sentence="", setup=told.setup_text(self.chosen.words(self.seed)), timesteps=self.run.timesteps)
        self.save()
        self.waiting += [Record(channel="card", payload=folder.card()), self._setup()]
        if not again:
            self._keep_policy()

    def _setup(self) -> Record:
        self.shown = setups.setup_of(self.chosen, self.seed, self.now)
        return Record(channel="setup", payload=self.shown)

    def ended_by(self, error: BaseException) -> None:
        """Stopped by a person, or failed: either way it can be resumed."""
        if isinstance(error, Exception):
            self.folder.say(state="failed", sentence=str(error) if for_people(error) else f"{type(error).__name__}: {error}"[:300])
            return
        if self.between:
            self.episodes.append(self.run.told_episodes())
        self._report()
        snapshot = snapshots.take(self.run) if self.between else self.latest
        if snapshot is not None:
            self._write(snapshot)
        self.folder.say(state="stopped")

    def close(self) -> None:
        """Environments may hold windows."""
        watching.close(self.run.env)
        watching.close(self.judged)
        if self.watcher is not None:
            self.watcher.close()

    def save(self) -> None:
        """The whole run, as it is between two updates."""
        self._write(snapshots.take(self.run))

    def _write(self, snapshot: snapshots.Snapshot) -> None:
        self.folder.facts |= {"seconds": self.seconds, "settings": told.settings_text(dataclasses.asdict(self.now))}
        self.folder.save(snapshot)

    # --- the work ---

    def work(self) -> Events:
        """All updates that are left, and a last evaluation."""
        yield from self._told()
        wants = {"wants": lambda _: self.wanted_inside} if self.chosen.algo == "trpo" else {}
        yielded = time.perf_counter()
        for event in self.chosen.algorithm.train(self.run, self.settings, self.chosen.total, **wants):
            if isinstance(event, Update):
                yield from self._updated(event)
                yielded = time.perf_counter()
                continue
            begin = time.perf_counter()
            self.between = not hasattr(self.now, "n_steps")  # without a rollout it can be saved at any step
            self._gather(event)
            self._show()
            self.ctx.check()
            self.ctx.breathe()
            self.seconds += time.perf_counter() - begin
            if self.waiting or time.perf_counter() - yielded > YIELD_S:
                yield from self._told()
                yield self._progress(event)
                yielded = time.perf_counter()
        if self.eval is None or self.eval.timesteps != self.run.timesteps:
            yield from self._evaluate()
        self._report()
        self.save()
        self._keep_policy()
        yield from self._told()

    def settings(self) -> Any:
        """What the next update shall use: asked by the algorithm, answered with what the newest job says."""
        text = self.ctx.job.settings
        if text != self.text:
            self.text = text
            self._turn(text)
        self.wanted_inside = self.ctx.job.watch and (self.ctx.stepping or self._is_due("inside")) and self.ctx.wants("inside")
        return self.now

    def _turn(self, text: str) -> None:
        """Turn knobs, if that is possible."""
        try:
            fresh = setups.live(self.chosen, text)
        except Exception as error:
            if not for_people(error):
                raise
            self.waiting.append(Record(channel="refused", payload=" ".join(filter(None, (error.message, error.hint)))))
            return
        for name in setups.fields_of(fresh):
            before, after = getattr(self.now, name), getattr(fresh, name)
            if before != after:
                change = told.RlChange(self.run.timesteps, name, *(math.nan if v is None else float(v) for v in (before, after)))
                self.folder.changes.add([(change.timesteps, name, change.before, change.after)])
                self.waiting.append(Record(channel="change", payload=change))
        self.now = fresh
        self.waiting.append(self._setup())

    def _updated(self, update: Update) -> Events:
        """After every change of the policy: file it, tell it if it is time, keep it if it is time."""
        begin = time.perf_counter()
        self.between, self.last = True, update
        self.seconds += update.seconds
        row = self.rows.add(update, self.seconds, self.ctx.stepping)
        if row is not None:
            self.history.append(dict(row.metrics))
        if len(self.history) > HISTORY:
            self.history = [*self.history[:-10:2], *self.history[-10:]]
        if len(update.episodes):
            self.episodes.append(update.episodes)
        if "noise" in self.run.extra:
            self.noise.append(self.run.extra["noise"].value[0].tolist())
        self._keep()
        if self.ctx.stepping or self._is_due("report", REPORT_S) or update.step == update.total:
            self._report()
            self.waiting.append(self._progress(update))
        self._show(update)
        self.seconds += time.perf_counter() - begin
        if self._evaluation_due():
            yield from self._evaluate()
        yield from self._told()
        yield Step(index=update.step, total=update.total)

    def _gather(self, tick: Tick) -> None:
        """Episodes that end while experience is gathered: before its first update DDPG has nothing else to tell, for thousands of steps."""
        if tick.phase == "collecting" and self._is_due("report", REPORT_S):
            self.episodes.append(self.run.told_episodes())
            self._report()
            self.waiting.append(self._progress(tick))

    def _keep(self) -> None:
        """Policies along the run, and the run itself every few seconds."""
        if self.folder.shelf.due(self.run.timesteps, self.chosen.total):
            self._keep_policy()
        if self._is_due("save", SAVE_S):
            begin = time.perf_counter()
            self.save()
            self._not_before("save", max(SAVE_S, SHARE * (time.perf_counter() - begin)))
        if hasattr(self.now, "n_steps") and self._is_due("keep", KEEP_S):
            self.latest = snapshots.take(self.run)

    def _keep_policy(self) -> None:
        self.folder.shelf.add(self.run.timesteps, self.run.nets)
        self.waiting.append(Record(channel="moments", payload=self.folder.shelf.moments()))

    # --- telling ---

    def _told(self) -> Events:
        waiting, self.waiting = self.waiting, []
        yield from waiting

    def _progress(self, event: Tick | Update) -> Progress:
        metrics = {} if self.last is None else self.last.metrics
        yet = "" if self.run.updates else " (no update yet)"
        words = [f"{self.run.timesteps:,} of {self.chosen.total:,} steps{yet}"]
        words += [f"return {metrics['rollout/ep_rew_mean']:.1f}"] if "rollout/ep_rew_mean" in metrics else []
        words += [f"{self.run.timesteps / self.seconds:,.0f} steps/s"] if self.seconds else []
        done, total = (self.last.step, self.last.total) if self.last is not None else (0, 0)
        return Progress(done=done, total=total, unit="step", note=", ".join(words))

    def _report(self) -> None:
        """Rows, episodes and lamps that have gathered."""
        rows = self.rows.take()
        if rows:
            self.folder.metrics.add_named(map(folders.named, rows))
            self.waiting.append(Record(channel="metrics", payload=rows))
        table = torch.cat(self.episodes).numpy() if self.episodes else ()
        self.episodes.clear()
        if len(table):
            self.folder.episodes.add([(int(at), float(f"{gain:.8g}"), int(length)) for at, gain, length in table.tolist()])
            self.waiting.append(Record(channel="episodes", payload=told.Episodes(table)))
        for each in (self.folder.metrics, self.folder.episodes, self.folder.changes):
            each.flush()
        if self.last is not None and (self.ctx.stepping or self._is_due("lamps", LAMPS_S)):
            lamps = self._lamps()
            self.folder.facts["lamps"] = [(lamp.name, lamp.verdict, lamp.sentence) for lamp in lamps]
            self.waiting.append(Record(channel="lamps", payload=lamps))

    def _lamps(self) -> tuple[told.LampView, ...]:
        spec, view = self.chosen.spec, self.last.view
        signal = getattr(view, "advantages", None)
        signal = getattr(view, "delta", None) if not torch.is_tensor(signal) else signal
        signal = signal if torch.is_tensor(signal) and len(signal) > 1 else None
        size = getattr(view, "returns", None)
        half = (spec.actions.high[0] - spec.actions.low[0]) / 2 if isinstance(spec.actions, Box) and spec.actions.bounded else None
        found = healthy.lamps(
            self.history, progress=self._learned(), half_range=half, solved_at=spec.solved_at,
            max_entropy=math.log(spec.actions.n) if isinstance(spec.actions, Discrete) and spec.actions.n > 1 else None,
            advantage_std=None if signal is None else float(signal.std(correction=0)),
            return_size=1.0 if size is None else float(size.abs().max()),
        )  # fmt: skip
        return tuple(told.LampView(lamp.name, lamp.verdict, lamp.sentence) for lamp in found)

    def _learned(self) -> float:
        """Share of the learning that is behind: what is collected before it begins does not count."""
        before = min(getattr(self.now, "learning_starts", 0), self.chosen.total - 1)
        return max(0, self.run.timesteps - before) / (self.chosen.total - before)

    def _show(self, update: Update | None = None) -> None:
        """Pictures that somebody looks at, each when its time has come; in step mode all of them after every update."""
        if not self.ctx.job.watch:
            return
        stepped = update is not None and self.ctx.stepping
        if not self.blind and (stepped or self._is_due("agent")) and self.ctx.wants("agent"):
            with self._timed("agent", FRAME_S):
                self._watch()
        if (stepped or self._is_due("plane")) and watching.has_plane(self.chosen.spec.id) and self.ctx.wants("plane"):
            with self._timed("plane", MAP_S):
                here = None if self.watcher is None else self.watcher.place()
                view = watching.plane_view(self.chosen, self.run.nets, self.now, self.run.timesteps, here)
                self.waiting.append(Preview(channel="plane", payload=view))
        if update is not None and self.wanted_inside and self.ctx.wants("inside"):  # wanted before it began: then it has all its pictures
            with self._timed("inside", MAP_S):
                views = watching.inside_views(self.chosen, self.run.nets, self.now, update.view, self.run.timesteps, list(self.noise))
                self.waiting += [Preview(channel="inside", payload=views)] if views else []

    def _watch(self) -> None:
        """A frame of the watched agent; if its environment fails, the training goes on unwatched."""
        try:
            self.watcher = self.watcher or watching.Watcher(self.chosen, self.job.watch_seed)
            self.waiting.append(Preview(channel="agent", payload=self.watcher.frame(self.run.nets)))
        except RLError as error:
            self.blind = True
            self.waiting.append(Record(channel="refused", payload=f"The agent cannot be watched: {error.message}"))

    # --- evaluation ---

    def _evaluation_due(self) -> bool:
        every = self.job.eval_every or -(-self.chosen.total // 10)
        before = self.eval.timesteps if self.eval is not None else self._evaluated_before()
        return every > 0 and self.run.timesteps // every > before // every

    def _evaluated_before(self) -> int:
        """Where a resumed run was evaluated last; where it began, if never."""
        rows = folders.rows_of(self.folder.evals)
        self.eval = rows[-1] if rows else told.RlRow(0, 0, 0.0, ())
        return self.eval.timesteps

    def _evaluate(self) -> Events:
        """Whole episodes without chance, always the same ones; the time they take does not count."""
        if self.judged is None:
            self.judged = self.chosen.make(self.job.eval_episodes)
        critic = self.run.nets["critic"] if "critic" in self.run.nets else None
        work = watching.Ended(evaluating(self.run.policy, self.judged, EVAL_SEED, critic, self.now.gamma))
        yielded = time.perf_counter()
        for left in work:
            if time.perf_counter() - yielded > YIELD_S:
                yield Progress(done=self.job.eval_episodes - left, total=self.job.eval_episodes, unit="episodes", note="evaluating")
                yielded = time.perf_counter()
        metrics = {"time/total_timesteps": float(self.run.timesteps), **work.value.metrics}
        self.eval = told.RlRow(self.run.updates, self.run.timesteps, self.seconds, tuple(metrics.items()))
        self.folder.evals.add_named([folders.named(self.eval)])
        self.folder.evals.flush()
        self.folder.facts |= {"eval_mean": metrics["eval/mean_reward"], "eval_std": metrics["eval/std_reward"]}
        self.waiting.append(Record(channel="eval", payload=self.eval))

    # --- result ---

    def result(self) -> Result:
        """Files and facts; they also stay in the run's folder."""
        evaluated = {name: value for name, value in self.eval.metrics if name.startswith("eval/")}
        facts = {
            **evaluated, "steps_per_second": round(self.run.timesteps / self.seconds, 1) if self.seconds else 0.0,
            "timesteps": self.run.timesteps, "updates": self.run.updates, "training_seconds": round(self.seconds, 3),
            "algorithm": self.chosen.algorithm.title, "algo": self.chosen.algo, "env": self.chosen.spec.id, "seed": self.seed,
            "n_envs": self.chosen.n_envs, "hidden": list(self.chosen.hidden), "backend": "tensor" if self.chosen.batched else "gymnasium",
            "settings": dataclasses.asdict(self.now), "preset": self.chosen.preset.note, "threads": torch.get_num_threads(),
            "setup": told.setup_text(self.chosen.words(self.seed)), "run_folder": str(self.folder.path),
        }  # fmt: skip
        write_now(self.folder.path / "result.json", json.dumps(facts, indent=1) + "\n")
        files = {name: (self.folder.path / name).read_text("utf-8") for name in (folders.METRICS, folders.EVALS, folders.EPISODES)
                 if (self.folder.path / name).is_file()}  # fmt: skip
        files["policy.safetensors"] = policy_bytes(self.chosen, self.run.nets, facts["setup"])
        if self.job.tensorboard:
            name, data = event_file(folders.rows_of(self.folder.metrics), folders.rows_of(self.folder.evals))
            files[name] = data
        return Result(files=files, facts=facts)

    # --- time ---

    def _is_due(self, what: str, every: float = 0.0) -> bool:
        """Has its time come? With `every`, the next time is set as well."""
        now = time.perf_counter()
        if now < self.due.get(what, 0.0):
            return False
        if every:
            self.due[what] = now + every
        return True

    def _not_before(self, what: str, seconds: float) -> None:
        self.due[what] = time.perf_counter() + seconds

    def _timed(self, what: str, every: float) -> Timed:
        return Timed(self, what, every)


class Timed:
    """Sets the next time of a picture so that it takes a small share of all."""

    def __init__(self, session: Session, what: str, every: float) -> None:
        self.session, self.what, self.every = session, what, every

    def __enter__(self) -> None:
        self.begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took = time.perf_counter() - self.begin
        self.session._not_before(self.what, max(self.every, SHARE * took))


class Rows:
    """Rows of metrics that have not been told; with very many updates a row is a mean over several."""

    def __init__(self) -> None:
        self._made: list[told.RlRow] = []
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, update: Update, seconds: float, whole: bool) -> told.RlRow | None:
        """Take an update in; the row, if it completes one. `whole`: every update is a row."""
        self._count += 1
        for name, value in update.metrics.items():
            if name.startswith("train/"):
                self._sums[name] = self._sums.get(name, 0.0) + value
        if not whole and self._count < 1 + (update.step - 1) // DENSE_ROWS and update.step != update.total:
            return None
        means = {name: total / self._count for name, total in self._sums.items() if name != "train/n_updates"}
        row = told.RlRow(update.step, update.timesteps, seconds, tuple((update.metrics | means).items()))
        self._made.append(row)
        self._sums, self._count = {}, 0
        return row

    def take(self) -> tuple[told.RlRow, ...]:
        """Rows since the last call."""
        rows, self._made = tuple(self._made), []
        return rows


def policy_bytes(chosen: Chosen, nets: torch.nn.ModuleDict, setup: str) -> bytes:
    """`policy.safetensors`: the policy alone, with what is needed to use it elsewhere."""
    tensors, words = snapshots.policy_file(nets["policy"], chosen.spec, {})
    about = json.loads(words["policy"]) | {"setup": setup}
    return folders.tensor_file(tensors, {"policy": json.dumps(about)})  # one entry: the order of several is left to chance
