"""The page of models with canned runs: what is listed, asked for, told; and its widgets."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from PySide6.QtCore import QMimeData, QObject, Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog

from app import theme
from app.jobs.models import CheckModel, FetchHub, FetchModel, ImportModel, ListModels, LookUpHub, RemoveModel
from app.models_page import ModelsPage
from app.protocol.encoding import encode
from app.protocol.errors import ErrorReport
from app.protocol.events import Progress
from app.protocol.job import job_to_dict
from app.protocol.models import HubChoice, HubFile, HubOffer, ModelRow
from app.protocol.payloads import Result
from app.protocol.status import WorkerStatus
from app.widgets.hub_form import TEACH
from app.widgets.transfer_bar import TransferBar

SMOL = ModelRow(
    key="smollm2", title="SmolLM2", what="talks", family="Language models", bytes=98_362_432, licence="Apache-2.0", source="PyPI",
    state="missing", note="Not here yet.", path="/m/smol.gguf", fetch_bytes=92_871_040, facts=(("Layers", "30"),), about="A small model.",
)  # fmt: skip
MINE = ModelRow(
    key="language:/a/mine.gguf", title="mine", family="Language models", bytes=2_000_000, licence="mit", source="a file of yours",
    path="/a/mine.gguf", removal="forget", note="Not checked yet.",
)  # fmt: skip
HALF = ModelRow(
    key="hub:half", title="someone/half", family="Language models", bytes=100, state="partial", note="Interrupted.", fetch_bytes=60,
    removal="delete", path="/m/.fetch/half", source="Hugging Face: someone/half",
)  # fmt: skip
VAE = ModelRow(key="playworld/vae", title="Autoencoder", family="Playworld", bytes=5_000_000, source="trained here", path="/w/v.weights")
ROWS = (SMOL, MINE, HALF, VAE)
OFFER = HubOffer(
    repo="someone/llama", commit="0" * 40, licence="mit", notes=("It is gated.",),
    choices=(
        HubChoice(label="a.gguf", files=(HubFile(name="a.gguf", bytes=3 * 2**20),)),
        HubChoice(label="b.gguf", files=(HubFile(name="b.gguf", bytes=5 * 2**20),)),
    ),
)  # fmt: skip


class Run(QObject):
    """A handle whose events the test sends."""

    progress = Signal(object)
    done = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, job, key) -> None:
        super().__init__()
        self.job, self.key, self.cancelled = job, key, False

    def cancel(self) -> None:
        self.cancelled = True
        self.finished.emit()

    def end(self, facts: dict) -> None:
        self.done.emit(Result(facts=facts))
        self.finished.emit()

    def fail(self, title: str, hint: str = "Do this.", kind: str = "user") -> None:
        self.failed.emit(ErrorReport(kind=kind, title=title, hint=hint, traceback="Traceback"))
        self.finished.emit()


class Engine(QObject):
    """Keeps what is submitted; lists are answered at once with `rows`."""

    status = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.rows = list(ROWS)
        self.runs: list[Run] = []
        self.lists: list[Run] = []

    def submit(self, job, *, key=None, policy="queue") -> Run:
        run = Run(job, key)
        (self.lists if isinstance(job, ListModels) else self.runs).append(run)
        return run

    def answer(self) -> None:
        """End all lists that were asked for."""
        waiting, self.lists = self.lists, []
        interrupted = {HALF.key: job_to_dict(FetchHub(repo=OFFER.repo, choice="a.gguf", offer=OFFER))}
        for run in waiting:
            run.end({
                "models": [asdict(row) for row in self.rows], "folder": "/m", "free_bytes": 3 * 2**30, "notice": "",
                "interrupted": interrupted,
            })  # fmt: skip

    @property
    def jobs(self) -> list:
        return [run.job for run in self.runs]


@pytest.fixture
def page(qtbot, qapp):
    theme.apply("light")
    made = ModelsPage(Engine(), None)
    made.engine = made._engine
    qtbot.addWidget(made)
    made.resize(1180, 720)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    made.refresh()
    made.engine.answer()
    return made


def states(page) -> dict[str, str]:
    return {key: page.table.state_words(key)[2] for key in page.table._rows}


def choose(page, row: ModelRow) -> None:
    page.table.choose(row.key)


def shown(page) -> list[str]:
    """Words of the buttons of the card that can be pressed."""
    buttons = (page.card.get, page.card.check, page.card.folder, page.card.remove)
    return [button.text() for button in buttons if button.isVisible() and button.isEnabled()]


def bars(page) -> list[TransferBar]:
    QApplication.sendPostedEvents(None, 0)
    found = (page.bars.itemAt(place).widget() for place in range(page.bars.count()))
    return [bar for bar in found if bar is not None and not bar.isHidden()]


# --- the list ---


def test_all_models_stand_under_their_families_with_their_states(page) -> None:
    texts = [page.table.item(place, 0).text() for place in range(page.table.rowCount())]
    assert texts == ["Language models", "Not here", "Ready", "Interrupted", "Playworld", "Ready"]
    cells = [page.table.item(1, column).text() for column in range(5)]
    assert cells == ["Not here", "SmolLM2", "93.8 MiB", "Apache-2.0", "PyPI"]
    assert page._room.text() == "3.0 GiB free"


def test_the_card_tells_of_the_chosen_one_and_offers_what_it_allows(page) -> None:
    assert page.table.chosen_key() == "smollm2" and shown(page) == ["Get (88.6 MiB)"]
    text = page.card.details.text()
    assert "Layers: 30" in text and "Licence: Apache-2.0" in text and "A small model." in text and "/m/smol.gguf" in text
    choose(page, MINE)
    assert shown(page) == ["Check", "Show in folder", "Take out of the list …"]
    choose(page, HALF)
    assert shown(page) == ["Continue (60 B)", "Show in folder", "Remove …"]
    choose(page, VAE)
    assert shown(page) == ["Check", "Show in folder"]


def test_a_damaged_model_says_why_and_can_be_fetched_again(page) -> None:
    page.engine.rows[0] = replace(SMOL, state="damaged", note="It is cut short.", removal="delete")
    page.refresh()
    page.engine.answer()
    assert "Fetch again (88.6 MiB)" in shown(page) and page.card._note.text() == "It is cut short."


def test_the_choice_stays_when_the_list_is_read_again(page) -> None:
    choose(page, HALF)
    page.refresh()
    page.engine.answer()
    assert page.table.chosen_key() == HALF.key and page.card._title.text() == "someone/half"
    page.engine.rows.remove(HALF)
    page.refresh()
    page.engine.answer()
    assert page.table.chosen_key() == "smollm2"


def test_models_in_memory_are_marked(page) -> None:
    page.engine.status.emit(WorkerStatus(models=("playworld/vae",)))
    assert states(page)["playworld/vae"] == "In memory" and states(page)["language:/a/mine.gguf"] == "Ready"
    page.engine.status.emit(WorkerStatus(models=("language:/a/mine.gguf@fp32",)))
    assert states(page)["language:/a/mine.gguf"] == "In memory"
    page.engine.status.emit(WorkerStatus(models=()))
    assert states(page)["playworld/vae"] == "Ready"


def test_a_notice_of_the_list_is_shown(page) -> None:
    page.refresh()
    page.engine.lists[-1].end({"models": [], "folder": "/m", "free_bytes": 1, "notice": "The list was broken.", "interrupted": {}})
    assert page.banner.text() == "The list was broken."
    assert page.table.rowCount() == 0


# --- fetching ---


def test_get_shows_progress_and_ends_in_ready(page, qtbot) -> None:
    qtbot.mouseClick(page.card.get, Qt.MouseButton.LeftButton)
    (run,) = page.engine.runs
    assert run.job == FetchModel(model="smollm2")
    (bar,) = bars(page)
    run.progress.emit(Progress(done=22.0, total=88.0, unit="MiB", note="fetching, 9.0 MiB/s"))
    assert bar.bar.value() == 250 and "22.0 of 88.0 MiB" in bar.words.text()
    assert states(page)["smollm2"] == "Fetching 25 %" and page.card._state.text() == "Fetching 25 %" and shown(page) == []
    page.engine.rows[0] = replace(SMOL, state="ready", note="whole", removal="delete")
    with qtbot.waitSignal(page.changed):
        run.end({"key": "smollm2", "title": "SmolLM2", "path": "/m/smol.gguf", "already": False})
    page.engine.answer()
    assert bars(page) == [] and states(page)["smollm2"] == "Ready" and page.banner.text() == "SmolLM2 is ready."


def test_get_twice_fetches_once(page) -> None:
    page.get("smollm2")
    page.get("smollm2")
    page.get("playworld/vae")
    page.get("nothing")
    assert page.engine.jobs == [FetchModel(model="smollm2")]


def test_cancel_ends_the_run_and_takes_the_bar_away(page, qtbot) -> None:
    page.get("smollm2")
    (bar,) = bars(page)
    qtbot.mouseClick(bar.cancel, Qt.MouseButton.LeftButton)
    page.engine.answer()
    assert page.engine.runs[0].cancelled and bars(page) == [] and states(page)["smollm2"] == "Not here"
    assert page.banner.text() == ""


def test_no_network_is_said_with_what_to_do_and_can_be_tried_again(page, qtbot) -> None:
    page.get("smollm2")
    page.engine.runs[0].fail("There is no connection to the Python package index.")
    page.engine.answer()
    assert page.banner.text().startswith("There is no connection") and page.banner._hint.text() == "Do this."
    assert states(page)["smollm2"] == "Not here"
    qtbot.mouseClick(page.banner._action, Qt.MouseButton.LeftButton)
    assert page.engine.jobs == [FetchModel(model="smollm2")] * 2 and page.banner.text() == ""


def test_a_bug_shows_its_details_and_offers_nothing(page) -> None:
    page.check("playworld/vae")
    page.engine.runs[0].fail("ZeroDivisionError", kind="bug")
    assert page.banner._details.toPlainText() == "Traceback" and page.banner._action.isHidden()


def test_several_at_once_have_a_bar_each(page) -> None:
    page.get("smollm2")
    page.get(HALF.key)
    assert [bar.title.text() for bar in bars(page)] == ["Fetching SmolLM2", "Fetching someone/half"]
    assert page.engine.jobs[1] == FetchHub(repo=OFFER.repo, choice="a.gguf", offer=OFFER)
    page.engine.runs[0].fail("No.")
    assert [bar.title.text() for bar in bars(page)] == ["Fetching someone/half"]


# --- Hugging Face ---


def test_nothing_is_asked_or_fetched_before_the_person_says_so(page, qtbot) -> None:
    qtbot.mouseClick(page.tools["hub"], Qt.MouseButton.LeftButton)
    assert page.hub.isVisible() and page.hub.words.text() == TEACH and page.hub.fetch.isHidden()
    assert QApplication.focusWidget() is page.hub.name
    qtbot.keyClick(page.hub.name, Qt.Key.Key_Return)
    assert page.engine.jobs == []
    qtbot.keyClicks(page.hub.name, "someone/llama")
    qtbot.keyClick(page.hub.name, Qt.Key.Key_Return)
    assert page.engine.jobs == [LookUpHub(repo="someone/llama")] and not page.hub.look_up.isEnabled()
    page.engine.runs[0].end({"offer": encode(OFFER)})
    assert page.hub.summary.text() == "Licence mit · 3.0 MiB in one file" and page.hub.notes.text() == "It is gated."
    assert page.hub.look_up.isEnabled() and len(page.engine.jobs) == 1
    page.hub.choice.setCurrentIndex(1)
    assert page.hub.fetch.text() == "Fetch 5.0 MiB" and "b.gguf" in page.hub.words.text()
    qtbot.mouseClick(page.hub.fetch, Qt.MouseButton.LeftButton)
    assert page.engine.jobs[1] == FetchHub(repo="someone/llama", choice="b.gguf", offer=OFFER) and not page.hub.isVisible()


def test_another_name_forgets_the_offer(page, qtbot) -> None:
    page.show_hub()
    page.hub.set_offer(OFFER)
    qtbot.keyClicks(page.hub.name, "x")
    assert page.hub.fetch.isHidden() and page.hub.words.text() == TEACH


def test_a_look_up_that_fails_can_be_done_again(page, qtbot) -> None:
    page.show_hub()
    page.look_up("someone/none")
    page.engine.runs[0].fail("Hugging Face has no public repository someone/none.")
    assert page.hub.look_up.isEnabled() and "someone/none" in page.banner.text() and page.banner._action.isVisible()


def test_escape_closes_the_form_and_not_the_page(page, qtbot) -> None:
    page.show_hub()
    with qtbot.assertNotEmitted(page.closed):
        qtbot.keyClick(page.hub.name, Qt.Key.Key_Escape)
    assert not page.hub.isVisible()


# --- adding, checking, removing ---


def test_files_and_folders_are_added_by_dialog_and_by_drop(page, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/a/x.gguf", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    qtbot.mouseClick(page.tools["file"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.tools["folder"], Qt.MouseButton.LeftButton)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile("/a/y.gguf"), QUrl("https://example.org/z.gguf")])
    assert page.accept_drop(mime)
    assert page.engine.jobs == [ImportModel(path="/a/x.gguf"), ImportModel(path="/a/y.gguf")]
    words = QMimeData()
    words.setText("hello")
    assert not page.accept_drop(words)


def test_a_pickle_is_refused_with_the_way_out(page) -> None:
    page.add("/a/model.pt")
    page.engine.runs[0].fail("model.pt is a pickle.", "Convert it.")
    assert page.banner.text() == "model.pt is a pickle." and page.banner._hint.text() == "Convert it." and page.banner._action.isHidden()


def test_check_says_whole_or_what_is_wrong(page, qtbot) -> None:
    choose(page, MINE)
    qtbot.mouseClick(page.card.check, Qt.MouseButton.LeftButton)
    assert page.engine.jobs == [CheckModel(model=MINE.key)] and states(page)[MINE.key] == "Checking"
    page.engine.runs[0].end({"found": {MINE.key: ""}, "sound": True})
    assert page.banner.text() == "The model is whole."
    qtbot.mouseClick(page.tools["check"], Qt.MouseButton.LeftButton)
    page.engine.runs[1].end({"found": {MINE.key: "It is cut short.", "playworld/vae": "Gone.", "x": ""}, "sound": False})
    assert page.banner.text() == "mine is not whole." and "It is cut short. 1 more" in page.banner._hint.text()


def test_removing_asks_once(page, qtbot) -> None:
    choose(page, MINE)
    qtbot.mouseClick(page.card.remove, Qt.MouseButton.LeftButton)
    assert page.engine.jobs == [] and "out of the list?" in page.banner.text() and "/a/mine.gguf" in page.banner._hint.text()
    qtbot.mouseClick(page.banner._close, Qt.MouseButton.LeftButton)
    assert page.engine.jobs == []
    choose(page, HALF)
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    assert page.banner.text() == "Remove someone/half from the disk?" and "fetched again" in page.banner._hint.text()
    qtbot.mouseClick(page.banner._action, Qt.MouseButton.LeftButton)
    assert page.engine.jobs == [RemoveModel(model=HALF.key)]
    page.engine.runs[0].end({"key": HALF.key, "freed_bytes": 2**20, "deleted": True})
    assert page.banner._hint.text() == "1.0 MiB are free again."


def test_what_is_built_in_cannot_be_removed(page) -> None:
    page.ask_to_remove("playworld/vae")
    assert "cannot be removed" in page.banner.text() and page.banner._action.isHidden()


def test_the_folder_is_shown(page, qtbot, monkeypatch) -> None:
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    qtbot.mouseClick(page.tools["open"], Qt.MouseButton.LeftButton)
    choose(page, MINE)
    qtbot.mouseClick(page.card.folder, Qt.MouseButton.LeftButton)
    assert opened == ["/m", "/a"]


# --- keys, names, themes ---


def test_keys(page, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/k.gguf", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "/folder")
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Return)
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.table.chosen_key() == MINE.key
    qtbot.keyClick(page.table, Qt.Key.Key_C)
    qtbot.keyClick(page.table, Qt.Key.Key_O, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(page.table, Qt.Key.Key_O, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert page.engine.jobs == [
        FetchModel(model="smollm2"), CheckModel(model=MINE.key), ImportModel(path="/k.gguf"), ImportModel(path="/folder"),
    ]  # fmt: skip
    qtbot.keyClick(page.table, Qt.Key.Key_F5)
    assert page.engine.lists
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.table.chosen_key() == VAE.key, "headings are stepped over"


def test_every_button_has_a_name_and_a_tooltip(page) -> None:
    page.show_hub()
    page.hub.set_offer(OFFER)
    page.get("smollm2")
    choose(page, HALF)
    for button in page.findChildren(QAbstractButton):
        if button.isVisible() and not button.parent().inherits("QLineEdit") and not button.inherits("QTableCornerButton"):
            assert button.accessibleName() or button.text(), button
            assert button.toolTip() or button.inherits("QToolButton"), button.text()


def test_a_theme_switch_repaints_the_rows(page) -> None:
    page.refresh()
    page.engine.answer()
    before = page.table.grab().toImage()
    theme.apply("dark")
    QApplication.processEvents()
    after = page.table.grab().toImage()
    theme.apply("light")
    where = page.table.visualItemRect(page.table.item(1, 1)).translated(0, page.table.horizontalHeader().height())

    def brightest(image) -> int:
        points = ((x, y) for x in range(where.left(), where.left() + 90, 2) for y in range(where.top() + 4, where.bottom() - 4, 2))
        return max(image.pixelColor(x, y).lightness() for x, y in points)

    assert brightest(after) > 180, "text on dark ground is bright"
    assert before != after


def test_time_left_is_told_once_it_can_be_known(qtbot, qapp) -> None:
    now = [0.0]
    bar = TransferBar(clock=lambda: now[0])
    qtbot.addWidget(bar)
    bar.begin("Fetching")
    bar.update_progress(0, 0, "", "asking")
    assert bar.bar.maximum() == 0 and bar.words.text() == "asking"
    bar.update_progress(10, 100, "MiB", "fetching, 5.0 MiB/s")
    now[0] = 2.0
    bar.update_progress(20, 100, "MiB", "fetching, 6.0 MiB/s")
    assert bar.words.text() == "20.0 of 100.0 MiB · fetching, 6.0 MiB/s · 16 s left"
    bar.update_progress(1, 100, "MB", "unpacking")
    assert "left" not in bar.words.text(), "another stage begins anew"
    now[0] = 10.0
    bar.update_progress(2, 100, "MB", "unpacking")
    assert "13 min left" in bar.words.text()
    bar.end()
    assert bar.isHidden()
