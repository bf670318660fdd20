"""Does the window stay fluid while it is used? Intervals of a 60 Hz timer on the GUI thread, idle and busy, panel by panel.

Qt's timers count whole milliseconds: 16 ms is the nearest to 60 Hz. What is above is the time the GUI thread was kept from its work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import report
import window
from PySide6.QtCore import QObject, Qt, QTimer, Slot

BEAT_MS = 16
QUESTIONS = (
    "Write a long story about a lighthouse keeper and a whale.",
    "List twenty kitchen tools, and say in a sentence each what they are for.",
    "Explain with Python code how to sort a list of words by their length.",
)
REPLY_TOKENS = 256
ENDLESS_STEPS = 50_000_000
LOOK_TEXT = 12 * "The keeper lit the lamp, and the whale, who had waited all night, came nearer to the rocks than it had ever been. "


class Heartbeat(QObject):
    """Notes the intervals between its ticks in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.intervals: list[float] = []
        self._timer = QTimer(self, interval=BEAT_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)
        self._timer.start()
        self._last = time.perf_counter()

    @Slot()
    def _on_beat(self) -> None:
        now = time.perf_counter()
        self.intervals.append((now - self._last) * 1000)
        self._last = now

    def stop(self) -> list[float]:
        """End it; returns the intervals."""
        self._timer.stop()
        return self.intervals


def idle(seconds: float) -> list[float]:
    """Nothing is computed."""
    beat = Heartbeat()
    window.let_run(seconds)
    return beat.stop()


def generating(panel, seconds: float) -> list[float]:
    """One picture after another, all three lenses, film strip and curve on show."""
    beat, end = Heartbeat(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        window.make_picture(panel)
    return beat.stop()


def chatting(panel, seconds: float, drafter: str) -> list[float]:
    """One answer after another, with its tokens, the strip of rounds and the figures on show."""
    beat, end, turn = Heartbeat(), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        window.write_reply(panel, QUESTIONS[turn % len(QUESTIONS)], drafter=drafter, max_new_tokens=REPLY_TOKENS)
        turn += 1
    return beat.stop()


def looking(panel, seconds: float) -> list[float]:
    """A text of some hundred tokens is looked at, all heads fill up, then head after head and token after token is shown."""
    beat, end, turn = Heartbeat(), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        panel.form.set_text(f"{turn}. {LOOK_TEXT}")
        window.wait_for(panel.looker.state_changed, start=panel.look, accept=lambda active: not active)
        for step in range(12):
            panel.selection.select((turn + 5 * step) % len(panel.looked.layers), (step % panel.looked.heads[0],))
            panel.selection.point("rows", 20 * step)
            window.let_run(0.15)
        turn += 1
    return beat.stop()


def following(panel, seconds: float) -> list[float]:
    """Answer after answer is written, and its attention followed in the panel in front."""
    chat, beat, end, turn = panel.window().panel("chat"), Heartbeat(), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        window.write_reply(chat, QUESTIONS[turn % len(QUESTIONS)], drafter="none", max_new_tokens=REPLY_TOKENS, follow=True)
        turn += 1
    return beat.stop()


def routing_text(panel, seconds: float) -> list[float]:
    """One text after another is read and written on, with every gate's decisions on show."""
    beat, end, turn = Heartbeat(), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        panel.side_form.set_job(replace(panel.side_form.job(), max_new_tokens=REPLY_TOKENS, temperature=1.0, seed=turn))
        window.wait_for(panel.runs.ended, start=panel.commands.read)
        turn += 1
    return beat.stop()


def learning(panel, seconds: float, algo: str, env: str) -> list[float]:
    """An agent learns and is drawn, with its curves, map, lamps and the page in front below; its begin and end count too."""
    form, engine = panel.side_form, panel.engine
    form.setup = None
    form.set_pair(algo, env)
    panel.setups.ask()
    while form.setup is None or (form.setup.algo, form.setup.env) != (algo, env):
        window.let_run(0.05)
    form.total.set_value(ENDLESS_STEPS)
    beat = Heartbeat()
    panel.commands.train()
    run = panel.trainings.shown
    window.let_run(seconds)
    intervals = beat.stop()
    run.handle.cancel()
    window.wait_until_idle(engine)
    if run.agent is None or not len(run.metrics):
        raise RuntimeError(f"{algo} in {env} told nothing within {seconds:.0f} s")
    panel.trainings.remove(run)
    return intervals


def in_turn(works: dict[str, Callable[[float], list[float]]], options: argparse.Namespace) -> None:
    """Measure everything `repeat` times in turn, and print each and all together."""
    pools: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(1, options.repeat + 1):
        for name, work in works.items():
            taken = work(options.seconds)
            pools[name] += taken
            print(f"  {turn} {name:<20} {report.percentiles(taken, 'ms')}", flush=True)
    for name, taken in pools.items():
        print(f"{name:<24} {report.percentiles(taken, 'ms')}")


def image(options: argparse.Namespace) -> None:
    """Idle, and generating with previews."""
    with window.image_panel(options.threads) as panel:
        from app.jobs.diffusion import demo_job

        report.heading("GUI heartbeat, edges and pose controlled, 20 steps", panel.engine.last_status.threads)
        panel.put_job(replace(demo_job(), width=options.size, height=options.size, keep_steps=False))
        window.make_picture(panel)  # loads the networks
        window.wait_until_idle(panel.engine)
        in_turn({"idle": idle, "generating": lambda seconds: generating(panel, seconds)}, options)


def chat(options: argparse.Namespace) -> None:
    """Idle, plain decoding, and decoding with a drafter: twice the tokens a second, and drafts to be painted."""
    with window.chat_panel(options.threads) as panel:
        report.heading(f"GUI heartbeat, answers of {REPLY_TOKENS} tokens by SmolLM2", panel.engine.last_status.threads)
        works = {"idle": idle}
        for drafter in options.drafters.split(","):
            works[f"chat, drafter {drafter}"] = lambda seconds, drafter=drafter: chatting(panel, seconds, drafter)
        in_turn(works, options)


def attention(options: argparse.Namespace) -> None:
    """Idle, looking around in the maps of SmolLM2, and following a reply while it is written."""
    with window.chat_panel(options.threads) as chat:
        main_window = chat.window()
        main_window.show_panel("attention")
        panel = main_window.current_panel()
        window.wait_until_idle(main_window.engine)
        report.heading("GUI heartbeat, attention of SmolLM2", panel.engine.last_status.threads)
        works = {"idle": idle, "looking": partial(looking, panel), "following a reply": partial(following, panel)}
        in_turn(works, options)


def routing(options: argparse.Namespace) -> None:
    """Idle, and texts written by the built-in mixture or a checkpoint of its training."""
    with window.open_panel("routing", options.threads) as panel:
        if options.checkpoint:
            panel.side_form.use("builtin-moe", options.checkpoint)
        elif panel.stage.missing:
            raise SystemExit("The built-in mixture is not here: `python main.py run train-moe --install`, or name a --checkpoint.")
        report.heading(f"GUI heartbeat, {REPLY_TOKENS} tokens of a mixture routed", panel.engine.last_status.threads)
        in_turn({"idle": idle, "routing": partial(routing_text, panel)}, options)


def rl(options: argparse.Namespace) -> None:
    """Idle, and agents that learn, with their metrics below, and with the last update from within."""
    with window.open_panel("rl", options.threads) as panel:
        report.heading("GUI heartbeat, an agent learns and is drawn", panel.engine.last_status.threads)
        stage = panel.stage

        def from_within(seconds: float) -> list[float]:
            stage.pages.setCurrentWidget(stage.inside)
            taken = learning(panel, seconds, "ppo", "CartPole-v1")
            stage.pages.setCurrentWidget(stage.small)
            return taken

        works = {"idle": idle, "PPO, CartPole": partial(learning, panel, algo="ppo", env="CartPole-v1"), "the same, inside": from_within,
                 "DDPG, Pendulum": partial(learning, panel, algo="ddpg", env="Pendulum-v1")}  # fmt: skip
        in_turn(works, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", choices=("image", "chat", "attention", "routing", "rl"), default="image", help="which panel is used")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--repeat", type=int, default=3, help="times each is measured, in turn")
    parser.add_argument("--threads", type=int, help="torch threads of the worker (default: torch's own choice)")
    parser.add_argument("--size", type=int, default=128, help="image: side of the pictures in pixels")
    parser.add_argument("--drafters", default="none,ngram", help="chat: who drafts, separated by commas")
    parser.add_argument("--checkpoint", default="", help="routing: folder of a train-moe checkpoint; default: the built-in mixture")
    options = parser.parse_args()
    {"image": image, "chat": chat, "attention": attention, "routing": routing, "rl": rl}[options.panel](options)


if __name__ == "__main__":
    main()
