"""How long until the attention of a text is on show? All heads of SmolLM2 at once, one head, and the memory that both take.

The runners run as in the program, without a window: from the job to its result, the model loaded, the store empty (overview, and one head
with the reading of the text) or filled (one head, as a click in the grid). Wall time by default; on a machine that does other work,
`--clock cpu` counts the processor seconds of this process instead, which is the time of one thread that has a core to itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import report
import torch

from app import runners
from app.jobs.attention import AttentionJob, AttentionMap, AttentionOverview, AttentionRollout
from app.protocol import commands
from app.protocol.events import Done
from app.runners.captures import STORE
from app.worker.backend import TorchBackend
from app.worker.loop import GpuWorker
from app.worker.mailbox import Mailbox
from models import catalog
from models.language.loading import LanguageModel, load_language_model

TEXTS = ("README.md", "docs/decisions.md", "CHANGELOG.md")
MB = 2**20


class Stage:
    """A worker without a thread, with one model in it."""

    def __init__(self, language: LanguageModel, threads: int, clock: str) -> None:
        self._mailbox = Mailbox(previews=False)
        options = {"load": lambda *_: language, "expected_size": lambda key: 0}
        self._worker = GpuWorker(self._mailbox, runners.runner, backend=lambda: TorchBackend(device="cpu", threads=threads), **options)
        self._clock = time.process_time if clock == "cpu" else time.perf_counter
        self._runs = 0

    def seconds(self, job: AttentionJob) -> float:
        """From the job to its result."""
        self._runs += 1
        begin = self._clock()
        self._worker.post(commands.Submit(run_id=self._runs, job=job))
        while self._worker.turn():
            pass
        taken, last = self._clock() - begin, self._mailbox.drain()[0][-1]
        if not isinstance(last, Done):
            raise SystemExit(f"{job.name} failed: {getattr(last, 'report', last)}")
        return taken


def peak() -> float:
    """The most memory this process ever had, MB; it only grows."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(stage: Stage, ids: tuple[int, ...], repeat: int) -> None:
    times: dict[str, list[float]] = {"overview": [], "one head, text to be read": [], "one head": [], "mean of 9 heads": [], "rollout": []}
    text = {"ids": ids, "device": "cpu"}
    stage.seconds(AttentionOverview(ids=ids[:16], device="cpu"))  # imports, and the first use of everything
    for turn in range(repeat):
        STORE.clear()
        times["overview"].append(stage.seconds(AttentionOverview(**text)))
        kept = STORE.bytes
        times["one head"] += [stage.seconds(AttentionMap(**text, layer=layer, heads=(turn % 9,))) for layer in (0, 14, 29)]
        times["mean of 9 heads"].append(stage.seconds(AttentionMap(**text, layer=14, heads=())))
        times["rollout"].append(stage.seconds(AttentionRollout(**text, layer=29)))
        STORE.clear()
        times["one head, text to be read"].append(stage.seconds(AttentionMap(**text, layer=14)))
    for name, taken in times.items():
        print(f"{len(ids):5} tokens  {name:<26} {report.spread([1000 * one for one in taken], 'ms')}")
    print(f"{len(ids):5} tokens  kept for the next look     {kept / MB:.0f} MB; peak of the process so far {peak():.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2 in the model folder)")
    parser.add_argument("--format", help="number format (default: what this machine chooses)")
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    path = options.model or Path(os.environ.get("GLASSBOX_SMOLLM2") or catalog.spec("smollm2").path)
    for threads in options.threads:
        torch.set_num_threads(threads)
        language = load_language_model(path, format=options.format)
        report.heading(f"Attention on show, {language.name} in {language.format}, {options.clock} time", threads)
        stage = Stage(language, threads, options.clock)
        text = "\n".join((report.ROOT / name).read_text("utf-8") for name in TEXTS)
        ids = language.tokenizer.encode(text)
        print(f"peak of the process with the model loaded {peak():.0f} MB")
        for count in options.tokens:
            measure(stage, tuple(ids[:count]), options.repeat)


if __name__ == "__main__":
    main()
