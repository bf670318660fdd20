"""Canned chat for the tests of the chat panel: an engine without a worker, and replies whose rounds obey the rules of the protocol."""

from __future__ import annotations

import random
import re
from typing import Any

from app.jobs.chat import Chat, ChatStatus, GammaCurve, LogitLens, LosslessStamp, MeasurePlain, RawTemplate
from app.protocol.chat import (
    Alternative,
    ChatPrompt,
    ChatRound,
    ChatToken,
    DraftedToken,
    DrafterStatus,
    GammaPoint,
    GammaReport,
    LensRow,
)
from app.protocol.payloads import Curve, Result, Tokens
from tests.app.image_panel_fakes import FakeEngine, FakeHandle

REPLY = (
    "A **fox** is a small animal of the dog family.\n\n- It hunts at night.\n- It eats mice, berries and insects.\n\n"
    "```python\ndef fox(n):\n    return n + 1\n```\n\nFoxes live in woods, fields and even in large cities, where they sleep by day."
)
PROMPT_IDS = tuple(range(900, 920))
LOSSLESS = ("none", "lookup", "ngram", "medusa", "eagle", "early-exit", "draft", "mtp", "auto")


def words(text: str) -> list[str]:
    """A text cut the way byte-pair tokens are: spaces lead, signs and line breaks stand alone."""
    return re.findall(r" ?\w+|\n| ?[^\w\s]|\s", text)


def token_id(text: str) -> int:
    """A number for a text, the same in every run."""
    return 1000 + sum(ord(letter) * (place + 7) for place, letter in enumerate(text)) % 40000


def token(text: str, kind: str, rng: random.Random, u: float | None = None) -> ChatToken:
    """A committed token with alternatives."""
    p = round(0.35 + 0.6 * rng.random(), 3)
    others = [other for other in (" the", " a", " and", " of") if other != text]
    top = [Alternative(id=token_id(text), text=text, p=p)]
    left = 1 - p
    for other in others:
        share = round(left * 0.5, 4)
        left -= share
        top.append(Alternative(id=token_id(other), text=other, p=share))
    return ChatToken(
        id=token_id(text), text=text, piece=text, kind=kind, p=p, p_raw=p, q=0.6 if kind == "accepted" else None, u=u,
        top=tuple(sorted(top, key=lambda other: -other.p)), entropy=round(-3.2 * (p - 1) + rng.random(), 3),
    )  # fmt: skip


def chain_round(index: int, position: int, texts: list[str], kept: int, drafted: int, rng: random.Random, **words_: Any) -> ChatRound:
    """A round whose draft of `drafted` tokens had `kept` right; `texts` are the kept + 1 tokens it adds."""
    drafts = []
    for place in range(drafted):
        fate = "accepted" if place < kept else "rejected" if place == kept else "untested"
        text = texts[place] if place < kept else rng.choice([" zebra", " quickly", " red", " in"])
        q = round(0.3 + 0.6 * rng.random(), 3)
        tested = fate != "untested"
        p = round(q * (0.9 if fate == "accepted" else 0.2), 3) if tested else None
        u = round(rng.uniform(0, 0.85) if fate == "accepted" else rng.uniform(0.3, 1), 3) if tested else None
        drafts.append(DraftedToken(id=token_id(text), text=text, q=q, p=p, u=u, fate=fate, parent=place - 1, depth=place + 1))
    last = "plain" if not drafted else "bonus" if kept == drafted else "corrected"
    tokens = [token(text, "accepted" if place < kept else last, rng) for place, text in enumerate(texts)]
    return make_round(index, position, drafts, tokens, rng, **words_)


def tree_round(index: int, position: int, texts: list[str], kept: int, rng: random.Random, width: int = 3, depth: int = 3) -> ChatRound:
    """A round of a tree: at each depth `width` guesses below the best of the depth before."""
    drafts: list[DraftedToken] = []
    best = -1
    for level in range(depth):
        first = len(drafts)
        for sibling in range(width):
            right = sibling == 0 and level < kept
            tested = level <= kept
            fate = "accepted" if right else "rejected" if tested else "untested"
            text = texts[level] if right else rng.choice([" of", " cat", " green", " under", ","])
            drafts.append(
                DraftedToken(id=token_id(text), text=text, q=round(0.6 / (sibling + 1), 3), p=0.5 if tested else None,
                             u=None, fate=fate, parent=best, depth=level + 1)
            )  # fmt: skip
        best = first
    last = "bonus" if kept == depth else "corrected"
    tokens = [token(text, "accepted" if place < kept else last, rng) for place, text in enumerate(texts)]
    return make_round(index, position, drafts, tokens, rng, drafter="medusa")


def make_round(index: int, position: int, drafts: list, tokens: list, rng: random.Random, drafter: str = "lookup") -> ChatRound:
    """Put a round together, with times."""
    return ChatRound(
        index=index, drafter=drafter, draft_length=len(drafts), position=position, drafted=tuple(drafts), tokens=tuple(tokens),
        draft_s=0.0012 * len(drafts), verify_s=round(0.018 + 0.003 * len(drafts) + 0.004 * rng.random(), 5), other_s=0.0006, lossless=True,
    )  # fmt: skip


def rounds_of(text: str = REPLY, *, drafter: str = "lookup", seed: int = 1, draft_length: int = 3) -> list[ChatRound]:
    """A reply cut into rounds."""
    rng, left, made = random.Random(seed), words(text), []
    position = len(PROMPT_IDS)
    while left:
        drafted = 0 if drafter == "none" or rng.random() < 0.25 else draft_length
        kept = min(rng.randint(0, drafted), len(left) - 1) if drafted else 0
        texts, left = left[: kept + 1], left[kept + 1 :]
        if drafter == "medusa" and drafted:
            made.append(tree_round(len(made), position, texts, kept, rng, depth=drafted))
        else:
            made.append(chain_round(len(made), position, texts, kept, drafted, rng, drafter=drafter))
        position += len(texts)
    return made


def counters_of(rounds: list[ChatRound]) -> dict[str, Any]:
    """The counters of rounds, by their definitions."""
    steps = [round_ for round_ in rounds if round_.drafted]
    kept = [sum(draft.fate == "accepted" for draft in round_.drafted) for round_ in steps]
    drafted = sum(len(round_.drafted) for round_ in steps)
    tested = sum(draft.fate != "untested" for round_ in steps for draft in round_.drafted)
    longest = max((draft.depth for round_ in steps for draft in round_.drafted), default=0)
    tokens = sum(len(round_.tokens) for round_ in rounds)
    parts = {f"{name}_s": sum(getattr(round_, f"{name}_s") for round_ in rounds) for name in ("draft", "verify", "other")}
    return {
        "num_spec_steps": len(steps), "num_draft_tokens": drafted,
        "num_accepted_draft_tokens": sum(kept), "draft_acceptance_rate": sum(kept) / drafted if drafted else None,
        "tested_acceptance_rate": sum(kept) / tested if tested else None,
        "mean_acceptance_length": 1 + sum(kept) / len(steps) if steps else 1.0,
        "acceptance_histogram": [kept.count(n) for n in range(longest + 1)],
        "acceptance_by_position": [sum(k > n for k in kept) / len(steps) for n in range(longest)],
        "num_tested_draft_tokens": tested, "new_tokens": tokens, "rounds": len(rounds), **parts, "prefill_s": 0.08,
        "tokens_per_s": tokens / (sum(parts.values()) or 1.0),
    }  # fmt: skip


def prompt_of(job: Chat) -> ChatPrompt:
    """What a run tells once the prompt is read."""
    raw = "".join(f"<|im_start|>{message.role}\n{message.text}<|im_end|>\n" for message in job.conversation) + "<|im_start|>assistant\n"
    return ChatPrompt(
        tokens=Tokens(texts=tuple(f"t{number}" for number in PROMPT_IDS), ids=PROMPT_IDS), raw=raw, dropped=0, dropped_sentence="",
        reused=0, prefill_s=0.08, context=8192, model="SmolLM2 135M Instruct", number_format="fp16-fbgemm",
        drafter="lookup" if job.drafter == "auto" else job.drafter, drafter_reason="asked for", lossless=True,
    )  # fmt: skip


class ChatHandle(FakeHandle):
    """Plays a chat run."""

    def tell_prompt(self, **changed: Any) -> None:
        import dataclasses

        self.record.emit("prompt", dataclasses.replace(prompt_of(self.job), **changed))

    def tell_round(self, round_: ChatRound, last: bool = False) -> None:
        self.record.emit("round", round_)
        self.step.emit(round_.index + 1, round_.index + 1 if last else 0)

    def tell_counters(self, rounds: list[ChatRound]) -> None:
        self.record.emit("counters", counters_of(rounds))

    def finish(self, rounds: list[ChatRound], reason: str = "stop") -> None:
        counters = counters_of(rounds)
        ids = [token_.id for round_ in rounds for token_ in round_.tokens]
        self.succeed(
            Result(
                facts={
                    "text": "".join(round_.text for round_ in rounds), "token_ids": ids, "prompt_ids": list(PROMPT_IDS),
                    "rounds": [], "counters": counters, "tokens_per_s": counters["tokens_per_s"], "plain_tokens_per_s": None,
                    "seconds_split": {"prefill": 0.08}, "first_token_s": 0.1, "drafter": rounds[0].drafter if rounds else "none",
                    "drafter_reason": "asked for", "model_name": "SmolLM2 135M Instruct", "number_format": "fp16-fbgemm",
                    "lossless": True, "reason": reason, "notes": [], "reused": 0, "seed": 0,
                }
            )
        )  # fmt: skip

    def answer(self, text: str = REPLY, **how: Any) -> list[ChatRound]:
        """A whole run."""
        rounds = rounds_of(text, drafter="lookup" if self.job.drafter == "auto" else self.job.drafter, **how)
        self.begin()
        self.tell_prompt()
        for round_ in rounds:
            self.tell_round(round_, last=round_ is rounds[-1])
        self.tell_counters(rounds)
        self.finish(rounds)
        return rounds


class ChatEngine(FakeEngine):
    """Keeps handles; answers the short jobs of the chat panel."""

    def __init__(self) -> None:
        super().__init__()
        self.status_facts: dict[str, Any] = {
            "ready": True, "sentence": "", "hint": "", "loaded": True, "number_format": "fp16-fbgemm", "auto": "lookup",
            "auto_reason": "the fastest here by measurement",
        }  # fmt: skip

    def submit(self, job: Any, *, key: str | None = None, policy: str = "queue", park_after: int | None = None) -> ChatHandle:
        handle = ChatHandle(self, len(self.handles) + 1, job, key or job.name, policy, park_after)
        self.handles.append(handle)
        return handle

    def chats(self) -> list[ChatHandle]:
        """All replies asked for."""
        return [handle for handle in self.handles if isinstance(handle.job, Chat)]

    def answer_all(self) -> None:
        """Finish every short job that has a canned answer."""
        for handle in list(self.handles):
            if handle.active and not isinstance(handle.job, Chat) and (result := self.canned(handle.job)) is not None:
                handle.succeed(result)

    def canned(self, job: Any) -> Result | None:
        if isinstance(job, ChatStatus):
            return Result(facts=dict(self.status_facts), files={"drafters": drafters()})
        if isinstance(job, RawTemplate):
            raw = "".join(f"<|im_start|>{message.role}\n{message.text}<|im_end|>\n" for message in job.conversation)
            return Result(files={"raw.txt": raw}, facts={"tokens": 20, "dropped": 0, "sentence": "", "context": 8192})
        if isinstance(job, MeasurePlain):
            return Result(facts={"tokens_per_s": 40.0, "seconds": 2.0, "tokens": 80, "first_token_s": 0.1})
        if isinstance(job, LosslessStamp):
            sentence = "Every one of the tokens is the model's own first choice."
            return Result(facts={"ok": True, "checked": len(job.reply_ids), "sentence": sentence, "mismatches": []})
        if isinstance(job, GammaCurve):
            return Result(files=gamma())
        if isinstance(job, LogitLens):
            rows = tuple(
                LensRow(layer=n, top=(Alternative(id=5, text=" fox", p=n / 31),), p_next=n / 31, rank_next=30 - n, entropy=6 - n / 6)
                for n in range(31)
            )
            return Result(files={"rows": rows}, facts={"position": job.position, "token": " a", "next": " fox"})
        return Result()


def gamma() -> dict[str, Any]:
    """A gamma curve with its best setting at 3."""
    speeds = [40.0, 52.0, 58.0, 61.0, 57.0, 50.0]
    points = tuple(
        GammaPoint(draft_length=n, accepted_at=0.6**n, tokens_per_round=1 + 0.6 * n, tokens_per_s=speed, speedup=speed / 40,
                   needed_acceptance=0.1 + 0.05 * n)
        for n, speed in enumerate(speeds)
    )  # fmt: skip
    report = GammaReport(
        drafter="lookup", points=points, best=3, acceptance=0.61, plain_s=0.025, draft_s=(0.001,) * 5, verify_s=(0.026,) * 5, exact=True
    )
    return {"report": report, "curve": Curve(list(range(6)), speeds, x_label="draft length", y_label="tokens/s")}


def drafters() -> tuple[DrafterStatus, ...]:
    """What can run in the canned world: no EAGLE layer."""
    made = []
    for name, title in (("none", "None"), ("lookup", "Prompt lookup"), ("ngram", "N-gram memory"), ("early-exit", "Early exit"),
                        ("draft", "Draft model"), ("medusa", "Medusa heads"), ("mtp", "Multi-token prediction"),
                        ("eagle", "EAGLE layer")):  # fmt: skip
        ready = name not in ("eagle", "mtp")
        sentence = (
            "Proposes what followed the same words earlier." if ready else "Its weights are not here: run train-drafter --kind eagle."
        )
        made.append(
            DrafterStatus(name=name, title=title, ready=ready, sentence=sentence, lossless=True, tokens_per_s=50.0 if ready else None)
        )
    return tuple(made)
