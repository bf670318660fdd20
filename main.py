"""Glassbox: `python main.py` opens the window, `python main.py --help` names the commands."""

import sys

if sys.platform == "win32":
    import torch  # noqa: F401 - on Windows its libraries must be loaded before Qt's

from app.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
