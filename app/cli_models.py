"""`python main.py models`: every model of the catalogue, its files and size, and whether it can be used."""

from __future__ import annotations

from app.protocol.errors import for_people


def print_models() -> int:
    """Print one block a model; 0 if all are there and sound, else 1."""
    from models import catalog

    states = []
    for key, spec in catalog.SPECS.items():
        state = check(key)
        states.append(state)
        size = f"{spec.bytes / 2**20:.1f} MiB" if spec.bytes else "no file"
        print(f"{key}: {spec.title}, {size}, {spec.licence}\n  {_files(spec)}\n  {state or 'there and sound'}")
    print(f"All files together: {catalog.total_bytes() / 2**20:.1f} MiB")
    return 1 if any(states) else 0


def check(key: str) -> str:
    """Load a model on the CPU; return what is wrong with it, or an empty string."""
    from models import catalog

    try:
        catalog.load(key, "cpu")
    except Exception as error:
        if not for_people(error):
            raise
        return " ".join(filter(None, (error.message, error.hint)))
    return ""


def _files(spec: object) -> str:
    from models.checkpoint import CheckpointError, find_files

    try:
        return ", ".join(str(path) for path in find_files(spec.path))
    except CheckpointError:
        return f"{spec.path} (no such file)"
