"""What does looking at the experts cost? Tokens written in the Routing panel, every gate's decision shown, against bare decoding.

Both are timed from the beginning of the first forward pass over a single token to the end of the last, so that what lies between them
counts and nothing else: traces, payloads, sums, a window that paints. Then how long the window lets the event loop wait meanwhile, and
how long a text of some hundred tokens takes from the click to the chips with all sums.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import report
import window
from PySide6.QtCore import Qt, QTimer

PAUSE_S, HEARTBEAT_MS = 0.5, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="", help="folder of a train-moe checkpoint; default: the built-in mixture")
    parser.add_argument("--tokens", type=int, default=96, help="tokens to write")
    parser.add_argument("--long", type=int, default=512, help="tokens of the text that is opened")
    parser.add_argument("--repeat", type=int, default=7, help="pairs")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    options = parser.parse_args()
    from models import catalog

    if not options.checkpoint and not catalog.available("builtin-moe"):
        raise SystemExit("The built-in mixture is not here: `python main.py run train-moe --install` trains it; or name a --checkpoint.")
    with window.open_panel("routing", options.threads) as panel:
        import torch

        from models.language.sparse_decoder import SparseDecoder

        torch.set_num_threads(panel.engine.last_status.threads)
        report.heading(f"Looking at experts while {options.tokens} tokens are written", torch.get_num_threads())
        panel.side_form.use("builtin-moe", options.checkpoint)
        job = replace(panel.side_form.job(), max_new_tokens=options.tokens)
        bare = bare_loop(options, job.text)

        def seconds(what, used: list[float]) -> float:
            window.let_run(PAUSE_S)
            begin = time.process_time()
            with report.timed_calls(SparseDecoder, "forward") as calls:
                what()
            used.append(time.process_time() - begin)
            return calls[-1][1] - calls[-options.tokens][0]

        gaps: list[float] = []

        def look() -> None:
            with Heartbeats(gaps):
                read(panel, job)

        seconds(look, []), seconds(bare, [])  # warm up
        gaps.clear()
        mine, its = [], []
        watched, alone = report.alternate(lambda: seconds(look, mine), lambda: seconds(bare, its), options.repeat)
        print(f"in the panel    {report.spread([1000 * s / options.tokens for s in watched], 'ms a token')}")
        print(f"bare decoding   {report.spread([1000 * s / options.tokens for s in alone], 'ms a token')}")
        print(f"looking         {report.ratio(watched, alone)}")
        print(f"processor time of the whole run, window, prompt and sums included  {report.ratio(mine, its)}")
        print(f"event loop      {report.percentiles(gaps, 'ms late')}")
        opening(panel, job, options.long, options.repeat)


def read(panel, job) -> None:
    """Press the button and run until the text is written."""
    how: list[str] = []
    panel.side_form.set_job(job)
    panel.runs.ended.connect(lambda end, _what: how.append(end))
    window.wait_for(panel.runs.ended, start=panel.commands.read)
    if how[-1] != "done":
        raise RuntimeError(f"the run ended as {how[-1]}: {panel.banner.text()}")


def bare_loop(options: argparse.Namespace, text: str):
    """Greedy decoding with the same net and cache, nobody looking."""
    import torch

    from app.runners.moe import fresh_net, tokenizer_file
    from models import catalog
    from models.fitting import averaged_weights
    from models.language.mixture_data import TOKENIZER, mixture_tokenizer

    if options.checkpoint:
        from pathlib import Path

        folder = Path(options.checkpoint)
        state = averaged_weights(folder)
        net = fresh_net("deepseek" if any(".shared." in name for name in state) else "switch")
        net.load_state_dict(state)
        net.eval().requires_grad_(False)
        tokenizer = mixture_tokenizer(folder / TOKENIZER)
    else:
        net, tokenizer = catalog.load("builtin-moe"), mixture_tokenizer(tokenizer_file("builtin-moe"))
    ids = [tokenizer.end_id, *tokenizer.encode(text)]

    def run() -> None:
        with torch.no_grad():
            cache = net.new_cache()
            token = net.step(torch.tensor(ids), cache, last_only=True)[0].argmax(-1)
            for _ in range(options.tokens):
                token = net.step(token, cache)[0].argmax(-1)

    return run


def opening(panel, job, tokens: int, repeat: int) -> None:
    """From the click to chips and sums of a text, nothing written."""
    text = job.text
    while len(text) < 4 * tokens:
        text += job.text
    took = []
    for _ in range(repeat):
        window.let_run(PAUSE_S)
        begin = time.perf_counter()
        read(panel, replace(job, text=text[: 3 * tokens], max_new_tokens=0))
        took.append(time.perf_counter() - begin)
    print(f"opening {len(panel.runs.reading)} tokens  {report.spread(took, 's')}")


class Heartbeats:
    """How many ms later than asked a timer of the event loop fires, while it is in use."""

    def __init__(self, gaps: list[float]) -> None:
        self._gaps = gaps

    def __enter__(self) -> None:
        self._last = time.perf_counter()
        self._timer = QTimer(interval=HEARTBEAT_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self._gaps.append(max(0.0, 1000 * (now - self._last) - HEARTBEAT_MS))
        self._last = now

    def __exit__(self, *_error) -> None:
        self._timer.stop()


if __name__ == "__main__":
    main()
