"""Errors that people read, and the text-only report that crosses threads.

An exception object never leaves the worker: its frames would keep tensors alive. What crosses is an
`ErrorReport` of strings.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Literal

ErrorKind = Literal["user", "memory", "bug"]


class UserError(Exception):
    """Something a person can put right: one sentence, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """A failure in words; `kind` says whether the user, the memory or the program is at fault."""

    kind: ErrorKind
    title: str
    hint: str = ""
    traceback: str = ""
    job_json: str = ""


def for_people(error: BaseException) -> bool:
    """Is this a UserError, or an error of `models` (which may not import the app) with a message and a hint?"""
    words = (getattr(error, "message", None), getattr(error, "hint", None))
    return isinstance(error, UserError) or all(isinstance(word, str) for word in words)


def report(error: BaseException, job_json: str = "") -> ErrorReport:
    """Turn an exception into strings; one written for people keeps its words, anything else is called a bug."""
    text = "".join(traceback.format_exception(error))
    if for_people(error):
        return ErrorReport(kind="user", title=error.message, hint=error.hint, traceback=text, job_json=job_json)
    title = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "This is a bug in Glassbox; the details hold what is needed to report it."
    return ErrorReport(kind="bug", title=title, hint=hint, traceback=text, job_json=job_json)
