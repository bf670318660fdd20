"""A program of its own that talks to Hugging Face: `python -m app.runners.getting.hub_child`, with a JSON object as its argument.

`hub` starts it, only when a person has asked for it, and it is the one place that imports huggingface_hub. It prints one JSON object: what
it found, or {"error": kind, "words": …}. A file is written as NAME.part and renamed when it has its size, so a later run goes on where
this one was ended.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

TIMEOUT_S = 20.0


def look_up(repo: str, revision: str) -> dict[str, Any]:
    """What the hub says of a repository: commit, licence, architecture, files with sizes and digests."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    card = info.card_data.to_dict() if info.card_data else {}
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    licence = card.get("license") or next(iter(tags), "")
    config = info.config if isinstance(info.config, dict) else {}
    return {
        "repo": info.id,
        "commit": info.sha,
        "licence": str(card.get("license_name") or "") if licence == "other" else str(licence),
        "gated": str(info.gated or ""),
        "model_type": str(config.get("model_type") or (info.gguf or {}).get("architecture") or ""),
        "files": [
            {"name": entry.rfilename, "bytes": entry.size or 0, "digest": _digest(entry)} for entry in info.siblings or []
        ],
    }  # fmt: skip


def _digest(entry: Any) -> str:
    if entry.lfs is not None:
        return f"sha256:{entry.lfs.sha256}"
    return f"git:{entry.blob_id}" if entry.blob_id else ""


def fetch(repo: str, commit: str, files: list[dict[str, Any]], folder: str) -> dict[str, Any]:
    """Bring files into a folder, each whole under its name or as NAME.part."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers()
    headers["Accept-Encoding"] = "identity"  # a range of a compressed answer is no range of the file
    for row in files:
        target = Path(folder) / row["name"]
        part = target.with_name(f"{target.name}.part")
        if target.exists() and target.stat().st_size == row["bytes"]:
            continue
        if part.exists() and part.stat().st_size > row["bytes"]:
            part.unlink()
        with open(part, "ab") as file:
            http_get(
                hf_hub_url(repo, row["name"], revision=commit), file,
                resume_size=file.tell(), headers=headers, expected_size=row["bytes"],
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    return {"files": [row["name"] for row in files]}


def kind_of(error: BaseException) -> str:
    """One word for what went wrong, by the names of the error's classes: they differ between versions of the library."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk"
    for kind, known in KINDS.items():
        if names & known:
            return kind
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return {401: "missing", 403: "gated", 404: "missing", 429: "busy"}.get(status, "server" if status else "other")


KINDS = {
    "offline": {"OfflineModeIsEnabled"},
    "gated": {"GatedRepoError"},
    "revision": {"RevisionNotFoundError"},
    "missing": {"RepositoryNotFoundError", "EntryNotFoundError", "DisabledRepoError"},
    "name": {"HFValidationError"},
    "network": {"TransportError", "ConnectError", "ConnectionError", "TimeoutException", "Timeout", "gaierror"},
}


def main(argument: str) -> int:
    """Do what the argument says and print the answer."""
    wish = json.loads(argument)
    action = {"look_up": look_up, "fetch": fetch}[wish.pop("do")]
    try:
        answer = action(**wish)
    except Exception as error:  # everything becomes a word and a line; the parent makes a sentence of it
        answer = {"error": kind_of(error), "words": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
