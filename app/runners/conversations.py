"""Runner of `write-conversations`: a model talks with itself, many rows side by side, so that drafters can learn how it writes.

All rows stand at the same place, so one cached pass a token serves the whole batch. A row is either being dictated to (templates of user
turns, markers) or writes by itself (answers; some user turns). The file has the columns tokens (rows, length) uint16 or uint32, assistant
(rows, length) bool and greedy (rows,) bool; the head that all rows share is left out, as it is always the same.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app import paths
from app.jobs.drafters import WriteConversations
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress, Step
from app.protocol.payloads import Result
from app.storage import write_now
from app.worker.context import Ctx
from models.language.chat_template import render
from models.language.loading import LanguageModel

FILE = "conversations.npz"
OWN_USER_TURNS = 1 / 3  # share of the user turns that the model writes itself
FOLLOW_UPS = 0.5  # share of the later user turns that only follow up
LONGEST_USER_TURN = 96
REPORT_MS = 200
MARKS = ("\x00first\x00", "\x00answer\x00", "\x00second\x00")
Batch = Generator[Event, None, dict[str, np.ndarray]]
TOPICS = paths.ASSETS / "samples" / "conversation-topics.json"


@dataclass(frozen=True)
class Glue:
    """What the chat template puts around the turns, as token ids."""

    head: list[int]  # the same for every row and not kept: system message, up to the first control token before the user's text
    before_user: list[int]  # from there to the user's first word
    to_assistant: list[int]  # between a user turn and the answer, the end marker first
    to_user: list[int]  # between an answer and the next user turn, the end marker first
    stops: frozenset[int]


@dataclass
class Row:
    """One conversation in the making."""

    greedy: bool
    turn: str = "user"  # who speaks
    dictated: deque[int] = field(default_factory=deque)
    length: int = 0  # tokens of the turn so far, when the model writes it


def write_conversations(job: WriteConversations, ctx: Ctx) -> Generator[Event, None, Result]:
    """Write rows until there are as many as asked for, and save after every batch."""
    folder = Path(job.folder) if job.folder else paths.data_dir() / "training"
    path = folder / FILE
    columns = read_conversations(path) if path.exists() else {}
    done = len(columns.get("tokens", ()))
    if done and columns["tokens"].shape[1] != job.length:
        raise UserError(
            f"{path} has rows of {columns['tokens'].shape[1]} tokens, not {job.length}.", hint="Choose that length, or another folder."
        )
    yield Progress(done=done, total=job.rows, unit="rows", note="loading the model")
    with ctx.zoo.use(job.model) as language:
        glue = glue_of(language)
        while done < job.rows:
            batch = yield from _batch(job, ctx, language, glue, done)
            columns = {name: np.concatenate([columns[name], rows]) if name in columns else rows for name, rows in batch.items()}
            save_conversations(path, columns)
            done = len(columns["tokens"])
            yield Step(index=done, total=max(done, job.rows))
    facts = {"rows": done, "tokens": int(columns["tokens"].size), "assistant_share": float(columns["assistant"].mean()), "path": str(path)}
    return Result(facts=facts)


def _batch(job: WriteConversations, ctx: Ctx, language: LanguageModel, glue: Glue, done: int) -> Batch:
    """One batch of rows; all of it follows from (seed, rows written before)."""
    rng = np.random.default_rng((job.seed, done))
    noise = torch.Generator().manual_seed((job.seed * 1_000_003 + done) % 2**63)
    writer = Writer(language, glue, json.loads(TOPICS.read_text(encoding="utf-8")), rng)
    count = min(job.batch_size, job.rows - done)
    rows = [writer.row(bool(rng.random() < job.greedy)) for _ in range(count)]
    tokens, assistant = [], []
    for place, logits in enumerate(_passes(language, glue.head, tokens, count, job.length)):
        chosen = _choose(logits, rows, job, noise)
        marks = [writer.advance(row, token) for row, token in zip(rows, chosen.tolist(), strict=True)]
        tokens.append(torch.tensor([token for token, _ in marks]))
        assistant.append([flag for _, flag in marks])
        ctx.check()
        if ctx.every(REPORT_MS):
            share = done + count * (place + 1) / job.length
            note = f"{count} rows side by side, token {place + 1} of {job.length}"
            yield Progress(done=round(share, 2), total=job.rows, unit="rows", note=note)
    ids = torch.stack(tokens, 1).numpy()  # (rows, length)
    kind = np.uint16 if language.tokenizer.vocab_size <= 2**16 else np.uint32
    return {"tokens": ids.astype(kind), "assistant": np.array(assistant).T.copy(), "greedy": np.array([row.greedy for row in rows])}


def _passes(language: LanguageModel, head: list[int], tokens: list[Tensor], count: int, length: int) -> Iterator[Tensor]:
    """Logits (rows, V) for each place in turn; the caller appends the chosen tokens (rows,) before it asks again."""
    model = language.model
    device = next(model.parameters()).device
    cache = model.new_cache(len(head) + length, batch=count)
    ids = torch.tensor(head, device=device).expand(count, -1)               # (B, head)
    for _ in range(length):
        hidden = model(ids, cache)                                          # (B, T, dim)
        yield model.head(hidden[:, -1])                                     # (B, V)
        ids = tokens[-1][:, None].to(device)                                # (B, 1)


def _choose(logits: Tensor, rows: list[Row], job: WriteConversations, noise: torch.Generator) -> Tensor:
    """A token a row (rows,): greedy answers, answers at the job's temperature, user turns at temperature 1."""
    values, ids = logits.topk(min(job.top_k, logits.shape[-1]), dim=-1)     # (B, k) each
    heat = torch.tensor([job.temperature if row.turn == "assistant" else 1.0 for row in rows], device=logits.device)
    drawn = torch.multinomial((values / heat[:, None]).softmax(-1).cpu(), 1, generator=noise)[:, 0]  # (B,)
    stiff = torch.tensor([row.greedy and row.turn == "assistant" for row in rows])
    place = torch.where(stiff, torch.zeros_like(drawn), drawn)
    return ids.cpu().gather(1, place[:, None])[:, 0]


class Writer:
    """Decides what every row does next."""

    def __init__(self, language: LanguageModel, glue: Glue, words: dict[str, list[str]], rng: np.random.Generator) -> None:
        self.language, self.glue, self.words, self.rng = language, glue, words, rng

    def row(self, greedy: bool) -> Row:
        """A new conversation, about to begin with a user turn."""
        row = Row(greedy, dictated=deque(self.glue.before_user))
        self._user_turn(row, first=True)
        return row

    def advance(self, row: Row, chosen: int) -> tuple[int, bool]:
        """The token that really comes, and whether an assistant wrote it."""
        if row.dictated:
            return row.dictated.popleft(), False
        flag = row.turn == "assistant"
        row.length += 1
        ends = chosen in self.glue.stops
        if row.turn == "user" and (ends or row.length >= LONGEST_USER_TURN):
            row.dictated.extend(self.glue.to_assistant)
            row.turn, row.length = "assistant", 0
            return row.dictated.popleft(), False
        if ends:
            row.dictated.extend(self.glue.to_user)
            chosen = row.dictated.popleft()
            self._user_turn(row, first=False)
        return chosen, flag

    def _user_turn(self, row: Row, *, first: bool) -> None:
        """Dictate a whole user turn, or leave it to the model."""
        row.turn, row.length = "user", 0
        if self.rng.random() < OWN_USER_TURNS:
            return
        text = self._follow_up() if not first and self.rng.random() < FOLLOW_UPS else self._question()
        row.dictated.extend(self.language.tokenizer.encode(text))
        row.dictated.extend(self.glue.to_assistant)
        row.turn = "assistant"

    def _question(self) -> str:
        a, b = self.rng.choice(len(self.words["topics"]), 2, replace=False)
        template = self.words["templates"][self.rng.integers(len(self.words["templates"]))]
        return template.format(a=self.words["topics"][a], b=self.words["topics"][b])

    def _follow_up(self) -> str:
        return self.words["follow_ups"][self.rng.integers(len(self.words["follow_ups"]))]


def glue_of(language: LanguageModel) -> Glue:
    """Take the template apart: render three turns with marks as their texts, and cut at the marks."""
    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": mark} for role, mark in zip(roles, MARKS, strict=True)]
    rest, parts = render(language.template, messages), []
    for mark in MARKS:
        part, found, rest = rest.partition(mark)
        if not found:
            raise UserError("The chat template of this model changes what is said.", hint="Conversations can be written with other models.")
        parts.append(language.tokenizer.encode(part, special=True))
    start, to_assistant, to_user = parts
    stops = frozenset(language.tokenizer.stop_ids)
    if not to_user or to_user[0] not in stops:
        raise UserError("The chat template of this model does not end an answer with a stop token.", hint="Choose a chat model.")
    control = [i for i, token in enumerate(start) if len(language.tokenizer.encode(language.tokenizer.token_text(token))) > 1]
    cut = max(control, default=-1) + 2 if control else 0  # the role's name stays with its marker
    return Glue(start[:cut], start[cut:], to_assistant, to_user, stops)


def read_conversations(path: Path) -> dict[str, np.ndarray]:
    """tokens, assistant and greedy of a file; UserError if it is something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in ("tokens", "assistant", "greedy")}
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", hint="Write one with `python main.py run write-conversations`.") from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} does not hold conversations.", hint="Write some with `python main.py run write-conversations`.") from error
    tokens, assistant, greedy = columns["tokens"], columns["assistant"], columns["greedy"]
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu" or assistant.shape != tokens.shape or greedy.shape != tokens.shape[:1]:
        raise UserError(f"The columns of {path} do not fit together.", hint="Write the file again.")
    return columns


def save_conversations(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write all rows; the file is the old or the new one, never half of each."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    write_now(path, buffer.getvalue())
