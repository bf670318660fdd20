"""How long until there is a window, and until there is a picture? Fresh processes, from the start of Python on.

"painted": `python main.py` has drawn its window. "picture": Generate is pressed the moment the window is painted, and the 20-step
picture of the default prompt is on the screen. The first process of a session may have to read the disk: it is printed apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAIN = Path(__file__).resolve().parent.parent / "main.py"
WAITING_FOR = "--press-generate"


def press_generate() -> None:
    """The child: `python main.py`, with a finger on the Generate button."""
    sys.path.insert(0, str(MAIN.parent))
    from PySide6.QtWidgets import QApplication

    from app import main_window
    from app.cli import main

    class Pressed(main_window.MainWindow):
        def _on_painted(self) -> None:
            super()._on_painted()
            panel = self.panel("image")
            panel.watching.result_shown.connect(self._on_shown)
            panel.commands.generate()

        def _on_shown(self, _image: object) -> None:
            QApplication.processEvents()  # paint it
            print(f"picture {time.time():.3f}", flush=True)

    main_window.MainWindow = Pressed
    main([])


def seconds_until(what: str, command: list[str]) -> float:
    """Start the command in an empty home and wait for its line "what seconds-since-epoch"; then end it."""
    with tempfile.TemporaryDirectory(prefix="glassbox-startup-") as home:
        environment = {"QT_QPA_PLATFORM": "offscreen", **os.environ, "GLASSBOX_HOME": home, "GLASSBOX_STARTUP_LOG": "-"}
        begin = time.time()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            for line in process.stdout:
                name, _, moment = line.partition(" ")
                if name == what:
                    return float(moment) - begin
            raise RuntimeError(f"{command} ended without {what!r}")
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="processes of each kind, after the first")
    options = parser.parse_args()
    import report
    import stand_in

    report.heading("Start of the program")
    kinds = {"painted": [sys.executable, str(MAIN)], "picture": [sys.executable, __file__, WAITING_FOR]}
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with stand_in.weights():
        for _ in range(options.repeat + 1):
            for name, command in kinds.items():
                taken[name].append(seconds_until(name, command))
    for name, (first, *later) in taken.items():
        print(f"{name}: {report.spread(later, 's')}; the first {first:.2f} s")


if __name__ == "__main__":
    press_generate() if sys.argv[1:] == [WAITING_FOR] else main()
