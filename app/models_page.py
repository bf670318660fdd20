"""The page of models: what is here, what can be had, and getting, adding, checking and removing it.

The page only asks: every piece of work is a job of `app.jobs.models` in the worker, with a bar of its own while it runs. It goes on when
the page is left. Nothing is fetched unless a button with its size on it was pressed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QMimeData, QObject, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from app.jobs.models import CheckModel, FetchHub, FetchModel, ImportModel, ListModels, LookUpHub, RemoveModel
from app.pages import Page
from app.protocol.errors import UserError
from app.protocol.events import Progress
from app.protocol.job import Job, job_from_dict
from app.protocol.models import HubOffer, ModelRow
from app.protocol.payloads import Result
from app.protocol.sizes import size_words
from app.protocol.status import WorkerStatus
from app.widgets.error_banner import ErrorBanner
from app.widgets.hub_form import HubForm
from app.widgets.icons import icon
from app.widgets.model_card import ModelCard
from app.widgets.model_table import ModelTable
from app.widgets.transfer_bar import TransferBar

EXPLANATION = "Everything Glassbox can load. What is added by path stays where it is; nothing is fetched unless you ask for it."
FILES = "Models (*.gguf *.whl);;All files (*)"
KEY_HELP = [
    ("Enter", "Models: get the chosen one, or check it if it is here"),
    ("C", "Models: check the chosen one"),
    ("Del", "Models: remove the chosen one (asks once)"),
    ("Ctrl+O", "Models: add a file"),
    ("Ctrl+Shift+O", "Models: add a folder"),
    ("F5", "Models: look again"),
]
Done = Callable[[Result], None]


class ModelsPage(Page):
    """A table of models, the chosen one in full beside it, and bars for what is at work."""

    changed = Signal()
    """Models have come or gone."""

    def __init__(self, engine: Any, settings: Any) -> None:
        super().__init__("Models", EXPLANATION)
        self._engine, self._settings = engine, settings
        self._errands: list[_Errand] = []
        self._interrupted: dict[str, dict] = {}
        self._folder = ""
        self._retry: Callable[[], None] | None = None
        self._asked: ModelRow | None = None
        self.banner, self.hub = ErrorBanner(), HubForm()
        self.table, self.card = ModelTable(), ModelCard()
        self.bars = QVBoxLayout()
        self._room = QLabel()
        self._build()
        self._add_keys()
        engine.status.connect(self._on_status)

    # building --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        tools, middle = QHBoxLayout(), QHBoxLayout()
        tools.setSpacing(8)
        middle.setSpacing(12)
        self.tools: dict[str, QPushButton] = {}
        for name, words, picture, tip, slot in (
            ("file", "Add file …", "add", "Add a .gguf file; it stays where it is (Ctrl+O)", self.add_file),
            ("folder", "Add folder …", "add", "Add a folder with safetensors and config.json (Ctrl+Shift+O)", self.add_folder),
            ("hub", "From Hugging Face …", "import", "Look a model up by name; nothing is fetched before you agree", self.show_hub),
            ("check", "Check all", "check", "Read the files of all models and say whether they are whole", self.check_all),
            ("open", "Show model folder", "open", "Open the folder that fetched models lie in", self.show_folder),
        ):
            self.tools[name] = button = QPushButton(words, toolTip=tip)
            button.setIcon(icon(picture))
            button.clicked.connect(slot)
            tools.addWidget(button)
        self._room.setProperty("role", "small")
        tools.addStretch(1)
        tools.addWidget(self._room)
        self.bars.setSpacing(8)
        middle.addWidget(self.table, 1)
        middle.addWidget(self.card)
        self.column.addLayout(tools)
        self.column.addWidget(self.banner)
        self.column.addWidget(self.hub)
        self.column.addLayout(self.bars)
        self.column.addLayout(middle, 1)
        self.table.chosen.connect(self._on_chosen)
        self.table.activated_key.connect(self._on_activated)
        self.table.remove_requested.connect(self.ask_to_remove)
        self.table.check_requested.connect(self.check)
        self.card.get_requested.connect(self.get)
        self.card.check_requested.connect(self.check)
        self.card.remove_requested.connect(self.ask_to_remove)
        self.card.folder_requested.connect(self._on_folder)
        self.hub.look_up_requested.connect(self.look_up)
        self.hub.fetch_requested.connect(self.fetch_hub)
        self.hub.closed.connect(self._on_hub_closed)

    def _add_keys(self) -> None:
        scope = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for keys, slot in (("Ctrl+O", self.add_file), ("Ctrl+Shift+O", self.add_folder), ("F5", self.refresh)):
            QShortcut(QKeySequence(keys), self, activated=slot, context=scope)

    # the list --------------------------------------------------------------------------------------------------

    @Slot()
    def refresh(self) -> None:
        """Look at the disk again; called when the page is shown."""
        handle = self._engine.submit(ListModels(), key="models/list", policy="follow")
        self._errands.append(_Errand(self, handle, self._on_listed))
        self.table.setFocus()

    def _on_listed(self, result: Result) -> None:
        facts = result.facts
        self._folder, self._interrupted = facts["folder"], facts["interrupted"]
        self.table.set_rows([ModelRow(**row) for row in facts["models"]])
        self._show_busy()
        self._room.setText(f"{size_words(facts['free_bytes'])} free")
        self._room.setToolTip(f"Room on the disk of {self._folder}")
        if facts["notice"]:
            self.banner.show_message("warn", facts["notice"])

    @Slot(str)
    def _on_chosen(self, key: str) -> None:
        row = self.table.row_of(key)
        if row is not None:
            self.card.set_row(row, self.table.state_words(key), busy=key in self._busy())

    @Slot(object)
    def _on_status(self, status: WorkerStatus) -> None:
        before = self.table.in_memory
        plain = {key.rpartition("@")[0] for key in status.models}  # smollm2@fp32 is smollm2 in another number format
        self.table.set_in_memory(frozenset({*status.models, *plain}))
        if before != self.table.in_memory:
            self._on_chosen(self.table.chosen_key())

    def _busy(self) -> dict[str, str]:
        return {errand.key: errand.words for errand in self._errands if errand.key}

    def _show_busy(self) -> None:
        self.table.set_busy(self._busy())
        self._on_chosen(self.table.chosen_key())

    # asking for work -------------------------------------------------------------------------------------------

    def work(self, job: Job, title: str, done: Done, *, key: str = "", verb: str = "") -> None:
        """Run a job with a bar of its own; `key` is the row it is about, `verb` what stands in its state meanwhile."""
        self.banner.clear()
        handle = self._engine.submit(job, key=f"models/{job.name}/{key}")
        bar = TransferBar()
        bar.begin(title)
        self.bars.addWidget(bar)
        errand = _Errand(self, handle, done, key=key, verb=verb, bar=bar, again=partial(self.work, job, title, done, key=key, verb=verb))
        self._errands.append(errand)
        self._show_busy()

    def moved(self, _errand: _Errand) -> None:
        """An errand has come further."""
        self.table.set_busy(self._busy())
        if (key := self.table.chosen_key()) in self._busy():
            self.card.set_state(self.table.state_words(key))

    def ended(self, errand: _Errand) -> None:
        """An errand is over."""
        self._errands.remove(errand)
        if errand.bar is not None:
            self._show_busy()
            self.hub.set_busy(any(isinstance(other.handle.job, LookUpHub) for other in self._errands))
            self.refresh_quietly()

    def refresh_quietly(self) -> None:
        """List again without moving the focus."""
        handle = self._engine.submit(ListModels(), key="models/list", policy="follow")
        self._errands.append(_Errand(self, handle, self._on_listed))

    def failed(self, errand: _Errand, report: Any) -> None:
        """An errand has failed: say why, and offer to try again."""
        again = errand.again if report.kind == "user" and isinstance(errand.handle.job, FetchModel | FetchHub | LookUpHub) else None
        self.banner.show_message(
            "error", report.title, report.hint, "Try again" if again else "", again, "" if report.kind == "user" else report.traceback
        )

    @Slot(str)
    def get(self, key: str) -> None:
        """Fetch a model that can be fetched, or go on with it."""
        row = self.table.row_of(key)
        if row is None or not row.fetch_bytes or row.state == "ready" or key in self._busy():
            return
        if key in self._interrupted:
            job, _ = job_from_dict(FetchHub, self._interrupted[key])
            self.work(job, f"Fetching {row.title}", self._on_got, key=key, verb="Fetching")
        else:
            self.work(FetchModel(model=key), f"Fetching {row.title}", self._on_got, key=key, verb="Fetching")

    @Slot(str)
    def look_up(self, name: str) -> None:
        """Ask the hub what a repository holds."""
        self.hub.set_busy(True)
        self.work(LookUpHub(repo=name), f"Asking Hugging Face about {name}", self._on_offer)

    @Slot(object, str)
    def fetch_hub(self, offer: HubOffer, label: str) -> None:
        """Fetch what was offered and agreed to."""
        self._on_hub_closed()
        self.work(FetchHub(repo=offer.repo, choice=label, offer=offer), f"Fetching {offer.repo}", self._on_got)

    def add(self, path: str) -> None:
        """Add a model by path."""
        self.work(ImportModel(path=path), f"Adding {Path(path).name}", self._on_got)

    @Slot(str)
    def check(self, key: str) -> None:
        """Check one model."""
        row = self.table.row_of(key)
        if row is not None and row.state in ("ready", "damaged") and key not in self._busy():
            self.work(CheckModel(model=key), f"Checking {row.title}", self._on_checked, key=key, verb="Checking")

    @Slot()
    def check_all(self) -> None:
        """Check every model that is here."""
        self.work(CheckModel(), "Checking all models", self._on_checked)

    @Slot(str)
    def ask_to_remove(self, key: str) -> None:
        """Ask once, in the banner, before a model is removed."""
        row = self.table.row_of(key)
        if row is None or key in self._busy():
            return
        self._asked = row
        if not row.removal:
            why = row.note if row.state == "missing" else "It comes with Glassbox."
            self.banner.show_message("info", f"{row.title} cannot be removed.", why)
        elif row.removal == "forget":
            text = f"Take {row.title} out of the list?"
            self.banner.show_message("warn", text, f"The file stays where it is: {row.path}", "Take out", self._on_remove)
        else:
            text = f"Remove {row.title} from the disk?"
            again = " It can be fetched again." if row.fetch_bytes else ""
            self.banner.show_message("warn", text, f"This frees {size_words(row.bytes)}.{again}", "Remove", self._on_remove)

    @Slot()
    def _on_remove(self) -> None:
        if self._asked is not None:
            self.work(RemoveModel(model=self._asked.key), f"Removing {self._asked.title}", self._on_removed, key=self._asked.key)

    # what came of it -------------------------------------------------------------------------------------------

    def _on_got(self, result: Result) -> None:
        words = "It was here already." if result.facts.get("already") else "Its files are whole."
        self.banner.show_message("info", f"{result.facts['title']} is ready.", words)
        self.changed.emit()

    def _on_offer(self, result: Result) -> None:
        job, _ = job_from_dict(FetchHub, {"offer": result.facts["offer"]})
        self.hub.set_offer(job.offer)

    def _on_checked(self, result: Result) -> None:
        wrong = {key: words for key, words in result.facts["found"].items() if words}
        if not wrong:
            count = len(result.facts["found"])
            self.banner.show_message("info", "The model is whole." if count == 1 else f"All {count} models are whole.")
            return
        key, words = next(iter(wrong.items()))
        more = f" {len(wrong) - 1} more are not whole; the list marks them." if len(wrong) > 1 else ""
        row = self.table.row_of(key)
        self.banner.show_message("error", f"{row.title if row else key} is not whole.", words + more)

    def _on_removed(self, result: Result) -> None:
        freed = f"{size_words(result.facts['freed_bytes'])} are free again." if result.facts["deleted"] else "Its file stays where it is."
        self.banner.show_message("info", "The model was removed.", freed)
        self.changed.emit()

    # the person ------------------------------------------------------------------------------------------------

    @Slot()
    def add_file(self) -> None:
        """Ask for a file."""
        path, _ = QFileDialog.getOpenFileName(self, "Add a model", "", FILES)
        if path:
            self.add(path)

    @Slot()
    def add_folder(self) -> None:
        """Ask for a folder."""
        path = QFileDialog.getExistingDirectory(self, "Add a folder with safetensors")
        if path:
            self.add(path)

    @Slot()
    def show_hub(self) -> None:
        """Show or hide the form for Hugging Face."""
        if self.hub.isVisible():
            self._on_hub_closed()
        else:
            self.hub.show()
            self.hub.name.setFocus()

    @Slot()
    def _on_hub_closed(self) -> None:
        self.hub.set_offer(None)
        self.hub.hide()
        self.table.setFocus()

    @Slot()
    def show_folder(self) -> None:
        """Open the model folder."""
        if self._folder:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._folder))

    @Slot(str)
    def _on_folder(self, path: str) -> None:
        where = Path(path)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(where.parent if where.suffix else where)))

    @Slot(str)
    def _on_activated(self, key: str) -> None:
        row = self.table.row_of(key)
        if row is not None and row.state == "ready":
            self.check(key)
        else:
            self.get(key)

    def accept_drop(self, mime: QMimeData) -> bool:
        """Add models that are dropped on the page."""
        paths = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        for path in paths:
            self.add(path)
        return bool(paths)

    def key_help(self) -> list[tuple[str, str]]:
        """The keys of this page."""
        return KEY_HELP


class _Errand(QObject):
    """One run of the page: its handle, its bar, and who wants to hear of its end."""

    def __init__(
        self, page: ModelsPage, handle: Any, done: Done, *, key: str = "", verb: str = "",
        bar: TransferBar | None = None, again: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(page)
        self._page, self.handle, self._done = page, handle, done
        self.key, self.words, self._verb = key, verb, verb
        self.bar, self.again = bar, again
        handle.progress.connect(self._on_progress)
        handle.done.connect(self._on_done)
        handle.failed.connect(self._on_failed)
        handle.finished.connect(self._on_finished)
        if bar is not None:
            bar.cancel_requested.connect(handle.cancel)

    @Slot(object)
    def _on_progress(self, event: Progress) -> None:
        if self.bar is None:
            return
        self.bar.update_progress(event.done, event.total, event.unit, event.note)
        self.words = f"{self._verb} {100 * event.done / event.total:.0f} %" if self._verb and event.total else self._verb
        self._page.moved(self)

    @Slot(object)
    def _on_done(self, result: Result) -> None:
        try:
            self._done(result)
        except UserError as error:
            self._page.banner.show_error(error)

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self._page.failed(self, report)

    @Slot()
    def _on_finished(self) -> None:
        if self.bar is not None:
            self.bar.hide()
            self.bar.deleteLater()
        self._page.ended(self)
        self.deleteLater()
