"""Hugging Face, when a person asks for it: what a repository offers, and fetching it in steps that survive an interruption.

Only safetensors, GGUF, JSON and text files (a chat template is one) are ever named to the hub's client; pickles are refused with the way
out. The talking is done by `hub_child` in a process of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path, PurePosixPath
from typing import Any

from app import paths
from app.protocol.errors import UserError
from app.protocol.events import Event
from app.protocol.models import HubChoice, HubFile, HubOffer
from app.protocol.sizes import size_words
from app.runners.getting.child import Child, bytes_below, python, watch
from app.runners.getting.files import git_sha1, sha256
from app.runners.getting.shelf import FILE_SUFFIXES
from app.worker.context import Ctx
from models.checkpoint import PICKLE_HINT, PICKLE_SUFFIXES

LLAMA_FAMILY = {"llama", "mistral"}
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
MAIN_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
FOLDER = "safetensors"
"""Label of the choice that is a folder; any other label is the name of a GGUF file."""
MAX_FILES = 2000
MAX_TEXT_BYTES = 64 * 2**20
"""A configuration or tokenizer above this is no such thing."""
ENV = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",  # its pieces cannot be resumed as a file
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}
CHILD = ("-m", "app.runners.getting.hub_child")


def check_name(repo: str) -> str:
    """The name without a leading address; UserError if it is none."""
    name = repo.strip().removeprefix("https://huggingface.co/").removeprefix("hf.co/").strip("/")
    if not NAME.fullmatch(name) or ".." in name:
        raise UserError(
            f"{repo[:80]!r} is not the name of a repository.", hint="Write OWNER/NAME, such as HuggingFaceTB/SmolLM2-135M-Instruct."
        )
    return name


def ask(wish: dict[str, Any], ctx: Ctx, what: str, size=None, total: int = 0) -> Generator[Event, None, dict[str, Any]]:
    """Run the child with a wish and return its answer; UserError with a sentence if there is none."""
    child = Child(python(*CHILD, json.dumps(wish)), paths.ROOT, ENV)
    try:
        yield from watch(child, size or (lambda: 0), total, what, ctx)
        output, errors = child.output, child.errors
    finally:
        child.close()
    try:
        answer = json.loads(output)
    except ValueError:
        answer = {"error": "other", "words": (errors.strip().splitlines() or ["it ended without a word"])[-1]}
    if "error" in answer:
        raise trouble(str(answer["error"]), str(answer.get("words", "")), str(wish.get("repo", "")))
    return answer


def trouble(kind: str, words: str, repo: str) -> UserError:
    """What went wrong between us and the hub, as a sentence."""
    what, hint = {
        "offline": ("The environment variable HF_HUB_OFFLINE forbids Hugging Face's client the network.", "Unset it and try again."),
        "network": ("Hugging Face cannot be reached.", "Check the connection and try again: what is here already is kept."),
        "gated": (
            f"{repo} is gated: its owner gives it only to people who have agreed to its terms.",
            f"Agree on huggingface.co/{repo}, sign in with the command `hf auth login`, and try again.",
        ),
        "missing": (f"Hugging Face has no public repository {repo}.", "Check owner and name; a private one needs `hf auth login` first."),
        "revision": (f"{repo} has no such revision.", "Leave it at main."),
        "name": (f"{repo!r} is not the name of a repository.", "Write OWNER/NAME."),
        "busy": ("Hugging Face asks to wait: too many requests.", "Try again in some minutes; what is here already is kept."),
        "server": ("Hugging Face answered with an error.", "Try again later; what is here already is kept."),
        "disk": ("The disk is full.", "Make room and try again; what is here already is kept."),
    }.get(kind, (f"Fetching from Hugging Face failed: {' '.join(words.split())[:200]}", "Try again; what is here already is kept."))
    return UserError(what, hint=hint)


# --- what a repository offers ---


def look_up(repo: str, revision: str, ctx: Ctx) -> Generator[Event, None, HubOffer]:
    """Ask what a repository holds; UserError if there is nothing in it that Glassbox can load."""
    name = check_name(repo)
    answer = yield from ask({"do": "look_up", "repo": name, "revision": revision or "main"}, ctx, f"asking Hugging Face about {name}")
    return offer_of(answer)


def offer_of(answer: dict[str, Any]) -> HubOffer:
    """The offer in a child's answer."""
    from models.language import moe_keymaps

    repo, kind = str(answer["repo"]), str(answer.get("model_type", "")).lower()
    files = [
        HubFile(name=str(row["name"]), bytes=int(row["bytes"]), digest=str(row["digest"])) for row in answer["files"][:MAX_FILES]
    ]
    usable = [file for file in files if _usable(file)]
    ggufs = [HubChoice(label=file.name, files=(file,)) for file in usable if file.name.lower().endswith(".gguf") and not _part(file)]
    choices = [*([] if kind in moe_keymaps.FAMILIES else ggufs), *_folder(usable)]  # mixtures of experts are read from safetensors only
    if not choices:
        raise _nothing(repo, files)
    if kind and kind not in (*LLAMA_FAMILY, *moe_keymaps.FAMILIES):
        known = f"the LLaMA family and, of mixtures of experts, {', '.join(moe_keymaps.FAMILIES)}"
        raise UserError(f"{repo} is a model of the kind {kind!r}; Glassbox loads {known}.", hint="Choose another model.")
    licence = str(answer.get("licence") or "")
    notes = [] if licence else ["Its page names no licence: find out what its owner allows before you use it."]
    if answer.get("gated"):
        notes.append("It is gated: its owner asks you to agree to terms on its page first.")
    return HubOffer(
        repo=repo, commit=str(answer["commit"]), licence=licence or "not named", architecture=kind,
        choices=tuple(choices), notes=tuple(notes),
    )  # fmt: skip


def _usable(file: HubFile) -> bool:
    """Of an allowed kind, at the top of the repository, and of a size that makes sense."""
    path = PurePosixPath(file.name)
    weights = path.suffix.lower() in (".safetensors", ".gguf")
    plain = len(path.parts) == 1 and path.name == file.name and "\\" not in file.name and not file.name.startswith(".")
    return plain and path.suffix.lower() in FILE_SUFFIXES and (weights or file.bytes <= MAX_TEXT_BYTES)


def _part(file: HubFile) -> bool:
    """One of several files of a split GGUF, which is not read."""
    return re.search(r"-\d{5}-of-\d{5}\.gguf$", file.name.lower()) is not None


def _folder(files: list[HubFile]) -> list[HubChoice]:
    """The safetensors with all they need, as one choice."""
    names = {file.name for file in files}
    weights = [file for file in files if MAIN_WEIGHTS.fullmatch(file.name)]  # not the adapters that may lie beside them
    if not weights or not {"config.json", "tokenizer.json"} <= names:
        return []
    wanted = {
        "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
        "model.safetensors.index.json", "chat_template.jinja", "LICENSE.txt",
    }  # fmt: skip
    return [HubChoice(label=FOLDER, files=tuple(weights + [file for file in files if file.name in wanted]))]


def _nothing(repo: str, files: list[HubFile]) -> UserError:
    if any(PurePosixPath(file.name).suffix.lower() in PICKLE_SUFFIXES for file in files):
        return UserError(
            f"{repo} holds its weights as pickles only, which can run any program when they are opened; they are not fetched.",
            hint=f"Look for a version of it in safetensors or GGUF. {PICKLE_HINT}",
        )
    return UserError(
        f"{repo} holds no language model that Glassbox can load: no GGUF file, and no safetensors with config.json and tokenizer.json.",
        hint="Choose another repository.",
    )


def choose(offer: HubOffer, label: str) -> HubChoice:
    """The choice of that label, or the only one."""
    found = [choice for choice in offer.choices if label in ("", choice.label)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{choice.label} ({size_words(choice.bytes)})" for choice in offer.choices)
    if not found:
        raise UserError(f"{offer.repo} has no {label[:80]!r}.", hint=f"It has {names}.")
    raise UserError(f"{offer.repo} holds several models: {names}.", hint="Say which one, by its name.")


# --- fetching ---


def check_offer(offer: HubOffer) -> None:
    """UserError if an offer names anything that `offer_of` would not: it may come from a file or another program."""
    check_name(offer.repo)
    if not re.fullmatch(r"[0-9a-f]{40}", offer.commit):
        raise UserError(f"{offer.commit[:60]!r} is not a commit.", hint="Look the repository up again.")
    for choice in offer.choices:
        for file in choice.files:
            if not _usable(file):
                raise UserError(f"{file.name[:80]!r} is not fetched: it is no part of a model.", hint="Look the repository up again.")
        if choice.label not in (FOLDER, choice.files[0].name if len(choice.files) == 1 else ""):
            raise UserError(f"{choice.label[:80]!r} is not the name of its file.", hint="Look the repository up again.")


def fetch(offer: HubOffer, choice: HubChoice, stage: Path, ctx: Ctx) -> Generator[Event, None, None]:
    """Bring the files of a choice into a working folder and compare them with the hub's digests."""
    rows = [{"name": file.name, "bytes": file.bytes} for file in choice.files]
    wish = {"do": "fetch", "repo": offer.repo, "commit": offer.commit, "files": rows, "folder": str(stage)}
    yield from ask(wish, ctx, f"fetching {offer.repo}", lambda: bytes_below(stage), choice.bytes)
    for file in choice.files:
        yield from check_file(stage / file.name, file, ctx)


def check_file(path: Path, file: HubFile, ctx: Ctx) -> Generator[Event, None, None]:
    """UserError, and the file is thrown away, if it is not what the hub said it would be."""
    kind, _, digest = file.digest.partition(":")
    found = ""
    if path.is_file() and path.stat().st_size == file.bytes:
        reading = {"sha256": sha256, "git": git_sha1}.get(kind)
        found = (yield from reading(path, f"checking {path.name}", ctx)) if reading else digest
    if found != digest or not path.is_file() or path.stat().st_size != file.bytes:
        path.unlink(missing_ok=True)
        raise UserError(f"{path.name} is not what Hugging Face announced; it was thrown away.", hint="Fetch it again.")
