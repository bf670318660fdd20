"""The conversation as text: what the model gets, how much of it fits, copies, files, and links that the model wrote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog

from app.jobs.chat import RawTemplate
from app.panels.chat import export
from app.panels.chat.conversation import ROOT
from app.protocol.chat import ChatMessage, whole_characters
from app.protocol.errors import UserError
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

LARGE_TEXT = 8000  # characters from which on it is asked beforehand how much of it the model can hold
ASK_AFTER_MS = 300


class Sharing(QObject):
    """Asks for the raw text, and hands text on."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._room = QTimer(self, singleShot=True, interval=ASK_AFTER_MS)
        self._room.timeout.connect(self._on_room)
        for signal, slot in (
            (panel.stage.raw_wanted, self._on_raw), (panel.stage.export_wanted, self._on_export),
            (panel.stage.composer.edited, self._on_draft), (panel.messages.copied, self._on_copied),
            (panel.messages.link_clicked, self._on_link),
        ):  # fmt: skip
            signal.connect(slot)

    def close_down(self) -> None:
        """Ask nothing more."""
        self._room.stop()

    def _so_far(self) -> tuple[ChatMessage, ...]:
        """The conversation up to and with its newest message."""
        conversation = self._panel.conversation
        path = conversation.path()
        if not path:
            return conversation.for_model(ROOT)
        newest = (export.as_chat(path[-1]),) if path[-1].text else ()
        return (*conversation.for_model(path[-1].id), *newest)

    @Slot(bool)
    def _on_raw(self, shown: bool) -> None:
        panel = self._panel
        panel.stage.composer.set_note("")
        if not shown:
            panel.stage.show_raw(None)
            return
        panel.stage.show_raw("Asking the model's template …")
        try:
            job = RawTemplate(messages=self._so_far(), prompt=whole_characters(panel.stage.composer.text()), model=panel.side_form.model)
        except UserError as error:
            panel.show_error(error)
            return
        panel.errands.run(job, self._show_raw, key="raw", failed=self._raw_failed)

    def _show_raw(self, result: Result) -> None:
        if self._panel.stage.raw_shown:
            self._panel.stage.show_raw(str(result.files.get("raw.txt", "")))
            self._tell_room(result)

    def _raw_failed(self, report: Any) -> None:
        self._panel.stage.show_raw(None)
        self._panel.show_error(report)

    @Slot(str)
    def _on_draft(self, text: str) -> None:
        """Say before a long text is sent how much of it the model can hold."""
        self._panel.stage.composer.set_note("")
        if len(text) >= LARGE_TEXT and not self._panel.gate.missing:
            self._room.start()

    @Slot()
    def _on_room(self) -> None:
        panel, text = self._panel, whole_characters(self._panel.stage.composer.text())
        try:
            job = RawTemplate(messages=self._so_far(), prompt=text, model=panel.side_form.model)
        except UserError as error:
            panel.stage.composer.set_note(f"{error} {error.hint}")
            return
        panel.errands.run(job, self._tell_room, key="room", failed=self._no_room)

    def _tell_room(self, result: Result) -> None:
        facts = result.facts
        words = facts.get("sentence") or f"{facts.get('tokens', 0):,} tokens of {facts.get('context', 0):,} the model can hold."
        self._panel.stage.composer.set_note(words)

    def _no_room(self, report: Any) -> None:
        self._panel.stage.composer.set_note(f"{report.title} {report.hint}")

    @Slot(str)
    def _on_copied(self, text: str) -> None:
        QGuiApplication.clipboard().setText(text)

    @Slot(str)
    def _on_link(self, address: str) -> None:
        """A model may write any address: say it in full, open it only when asked."""
        url = QUrl(address)
        if url.scheme() in ("http", "https"):
            self._panel.show_message("info", f"Open {url.toDisplayString()[:300]} in the browser?", "The model wrote this address.", "Open",
                                     partial(QDesktopServices.openUrl, url))  # fmt: skip

    @Slot(str)
    def _on_export(self, kind: str) -> None:
        panel = self._panel
        conversation = panel.conversation
        if conversation.empty:
            panel.show_message("info", "There is nothing to export yet.", "Ask something first.")
            return
        if kind == "markdown":
            QGuiApplication.clipboard().setText(export.markdown(conversation))
            return
        ending = "md" if kind == "save-markdown" else "json"
        proposed = f"{export.file_name(conversation)}.{ending}"
        name, _filter = QFileDialog.getSaveFileName(panel, "Save the conversation", proposed, f"*.{ending}")
        if name:
            replies = panel.messages.replies_here()
            text = export.markdown(conversation) if ending == "md" else json.dumps(export.everything(conversation, replies), indent=1)
            panel.settings.storage.write(Path(name), text.encode("utf-8"))
