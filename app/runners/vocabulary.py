"""Runner that tells the words of the built-in text encoder."""

from __future__ import annotations

from collections.abc import Generator

from app.jobs.vocabulary import Vocabulary
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.worker.context import Ctx


def vocabulary(job: Vocabulary, ctx: Ctx) -> Generator[Event, None, Result]:
    """Phrases to offer by heading, and every word that has an id of its own or is an alias of one that has."""
    from models.playworld import words

    yield Progress(done=0, note="reading the vocabulary")
    if job.model != "playworld":
        raise UserError(f"The words of {job.model!r} are not known.", hint="The built-in model is called playworld.")
    groups = {heading: list(phrases) for heading, phrases in words.WORD_GROUPS.items()}
    known = sorted({*words.VOCABULARY, *words.ALIASES})
    return Result(facts={"groups": groups, "words": known})
