"""Commands on their way to the worker, and the flags a running generator may read in between."""

from __future__ import annotations

import threading

from app.protocol.commands import Cancel, Command, Quit


class Inbox:
    """Appended to by any thread, emptied by the worker."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._commands: list[Command] = []
        self._cancelled: set[int] = set()
        self._quitting = False

    def post(self, command: Command) -> None:
        """Add a command; cancelling shows to `ctx.check()` at once, before the worker gets to the command."""
        with self._changed:
            if isinstance(command, Cancel):
                self._cancelled.add(command.run_id)
            self._quitting = self._quitting or isinstance(command, Quit)
            self._commands.append(command)
            self._changed.notify_all()

    def take(self) -> list[Command]:
        """Take out all commands without waiting."""
        with self._changed:
            commands, self._commands = self._commands, []
        return commands

    def wait(self) -> None:
        """Block until there is a command."""
        with self._changed:
            self._changed.wait_for(lambda: self._commands)

    def cancel_requested(self, run_id: int) -> bool:
        """Has the end of this run, or of everything, been asked for?"""
        return self._quitting or run_id in self._cancelled

    def forget(self, run_id: int) -> None:
        """The run has ended; drop its flag."""
        with self._changed:
            self._cancelled.discard(run_id)
