"""What the list of models says of each model, and what a hub offers before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModelState = Literal["ready", "missing", "partial", "damaged"]
"""partial: an interrupted fetch that can go on."""
Removal = Literal["", "delete", "forget"]
"""What removing does: nothing can be removed, our files are deleted, or the list forgets a file that stays where it is."""


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model as the list shows it. `key` is its name in the catalogue."""

    key: str
    title: str
    what: str = ""
    """One phrase: what it is for."""
    about: str = ""
    """A few sentences for who wants to know more."""
    family: str = ""
    bytes: int = 0
    """Size on disk; of a missing model the size it will have."""
    licence: str = ""
    source: str = ""
    """Where it comes from, in words."""
    state: ModelState = "ready"
    note: str = ""
    """A sentence about the state: what is wrong and what to do, or when it was last checked."""
    path: str = ""
    fetch_bytes: int = 0
    """How much has to be fetched to get it; 0: it cannot be fetched."""
    removal: Removal = ""
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value of what is known of its inside, such as parameters and context length."""

    def __post_init__(self) -> None:
        # from JSON the pairs come as lists
        object.__setattr__(self, "facts", tuple((str(name), str(value)) for name, value in self.facts))


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a repository. `digest`: "sha256:…" or "git:…" (SHA-1 of a git blob), "" if the hub names none."""

    name: str
    bytes: int
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class HubChoice:
    """Files that together make one usable model: a GGUF file, or safetensors with their configuration and tokenizer."""

    label: str
    files: tuple[HubFile, ...]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, kw_only=True)
class HubOffer:
    """What a repository of the hub holds that Glassbox can use, at one commit."""

    repo: str
    commit: str
    licence: str = ""
    architecture: str = ""
    choices: tuple[HubChoice, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences a person should read before saying yes."""
