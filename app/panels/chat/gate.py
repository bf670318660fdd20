"""Is the model here, which drafters can run, and how to get what is missing: fetch it, or add one by path.

When a model is here it is loaded at once, so that the first answer comes quickly, and its drafters are measured once per machine; that
stands still while an answer is being written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QFileDialog

from app.jobs.chat import ChatStatus, ChooseDrafter, LoadLanguageModel
from app.jobs.models import SMOLLM2, FetchModel, ImportModel, ListModels
from app.panels.chat.reply import drafter_title, sentence
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel
    from app.panels.errands import Errand

OWN_MODEL = "language:"


class Gate(QObject):
    """Knows why the model cannot answer, if it cannot."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.missing, self.hint, self.asked = "", "", ""
        self.number_format, self.loaded = "", False
        self._notes: dict[str, str] = {}
        self._warm: set[str] = set()
        self._fetch: Errand | None = None
        self._choosing: Errand | None = None
        panel.runs.state_changed.connect(self._on_runs)
        welcome = panel.stage.welcome
        for signal, slot in (
            (welcome.fetch_wanted, self.fetch), (welcome.cancel_wanted, self._on_cancel), (welcome.path_wanted, self.open_file),
            (panel.side_form.model_wanted, self.open_file),
        ):  # fmt: skip
            signal.connect(slot)

    def ask(self) -> None:
        """Find out what is here; loads nothing."""
        self.asked = self._panel.side_form.model
        self._panel.errands.run(ListModels(), self._take_models, key="models", failed=self._no_models)
        self._panel.errands.run(ChatStatus(model=self._panel.side_form.model), self._take_status, key="status")

    def action(self) -> tuple[str, Callable[[], None] | None]:
        """The button that helps, and what it does."""
        if self._panel.side_form.model == SMOLLM2:
            return "Get it", self.fetch
        return "Open a model file", self.open_file

    # what is here --------------------------------------------------------------------------------------------------

    def _take_models(self, result: Result) -> None:
        rows = [(row["key"], row["title"]) for row in result.facts.get("models", ()) if _can_talk(row)]
        self._panel.side_form.set_models(rows or [(SMOLLM2, "SmolLM2")], self._panel.side_form.model)
        self._notes = {row["key"]: str(row.get("note", "")) for row in result.facts.get("models", ())}

    def _no_models(self, report: Any) -> None:
        self._panel.show_error(report)

    def _take_status(self, result: Result) -> None:
        panel, facts = self._panel, result.facts
        self.missing = "" if facts.get("ready") else str(facts.get("sentence") or "The model is not here.")
        self.hint = "" if facts.get("ready") else str(facts.get("hint", ""))
        if self.missing and (note := self._notes.get(panel.side_form.model)):
            self.missing, self.hint = f"{facts.get('title', 'The model')}: {note[:1].lower()}{note[1:]}", ""
        known = f"{sentence(drafter_title(str(facts.get('auto', ''))))}: {facts.get('auto_reason', '')}."
        panel.side_form.set_drafters(result.files.get("drafters", ()), known)
        if self._fetch is None:
            panel.stage.welcome.set_missing(self.missing, self.hint, panel.side_form.model == SMOLLM2)
        model = panel.side_form.model
        if not self.missing and model not in self._warm:
            self._warm.add(model)
            panel.errands.run(LoadLanguageModel(model=model), self._take_loaded, key="load", progress=panel.tell_progress)
            if not facts.get("measured"):
                self._choosing = panel.errands.run(ChooseDrafter(model=model), self._take_choice, key="choose", failed=self._no_choice)
                self._on_runs()

    def _take_loaded(self, result: Result) -> None:
        self.number_format, self.loaded = str(result.facts.get("number_format", "")), True
        self._panel.tell_progress(None)

    @Slot()
    def _on_runs(self) -> None:
        """Measuring has time; an answer has not."""
        if self._choosing is not None:
            handle = self._choosing.handle
            handle.pause() if self._panel.runs.active else handle.resume()

    def _no_choice(self, _report: Any) -> None:
        """Measuring drafters is a convenience: without it "auto" takes what needs no measuring."""
        self._choosing = None

    def _take_choice(self, _result: Result) -> None:
        self._choosing = None
        self._panel.errands.run(ChatStatus(model=self._panel.side_form.model), self._take_status, key="status")

    # getting one ---------------------------------------------------------------------------------------------------

    @Slot()
    def fetch(self) -> None:
        """Fetch SmolLM2; asked for by a person."""
        if self._fetch is None:
            self._panel.banner.clear()  # what it says is being mended
            self._panel.stage.welcome.set_fetching("Looking for SmolLM2 …", None)
            self._fetch = self._panel.errands.run(FetchModel(), self._fetched, failed=self._not_fetched, progress=self._on_progress)

    @Slot(object)
    def _on_progress(self, progress: Any) -> None:
        if self._fetch is not None:
            share = progress.done / progress.total if progress.total else None
            amount = f": {progress.done:.0f} of {progress.total:.0f} {progress.unit}" if progress.total else ""
            what, comma, speed = progress.note.partition(", ")
            self._panel.stage.welcome.set_fetching(f"{sentence(what)}{amount}{comma}{speed}", share)

    def _fetched(self, _result: Result) -> None:
        self._end_fetch()
        self.ask()

    def _not_fetched(self, report: Any) -> None:
        self._end_fetch()
        details = report.traceback if report.kind == "bug" else ""
        self._panel.banner.show_message("error", report.title, report.hint, "Try again", self.fetch, details)
        self._panel.stage.welcome.set_missing(self.missing, self.hint, True)
        self.ask()  # a part of it may be here by now

    @Slot()
    def _on_cancel(self) -> None:
        if self._fetch is not None:
            self._fetch.handle.cancel()
            self._end_fetch()
            self._panel.stage.welcome.set_missing(self.missing, "The fetch was stopped; it goes on where it ended.", True)

    def _end_fetch(self) -> None:
        self._fetch = None
        self._panel.stage.welcome.set_fetching("", None)

    @Slot()
    def open_file(self) -> None:
        """Ask for a model on disk and add it."""
        name, _filter = QFileDialog.getOpenFileName(
            self._panel, "Open a language model", "", "Models (*.gguf config.json *.safetensors);;All files (*)"
        )
        if name:
            self.add(Path(name))

    def add(self, path: Path) -> None:
        """Add a model by path: a GGUF file, or the folder that a file of it lies in."""
        whole = path if path.suffix == ".gguf" or path.is_dir() else path.parent
        self._panel.errands.run(ImportModel(path=str(whole)), self._added, progress=self._panel.tell_progress)

    def _added(self, result: Result) -> None:
        self._panel.tell_progress(None)
        self.use(str(result.facts["key"]))

    def use(self, model: str) -> None:
        """Let another model answer from now on."""
        self._panel.side_form.form.set_value("model", model)
        self._panel.touch()
        self.ask()


def _can_talk(row: dict[str, Any]) -> bool:
    return row.get("state") == "ready" and (row.get("key") == SMOLLM2 or str(row.get("key", "")).startswith(OWN_MODEL))
