"""The window: panels on first show, start order, drops, errors, layout, closing, screenshots' scene player."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, Qt, QUrl, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit

from app import main_window, screenshots, theme
from app.main_window import MainWindow
from app.panels.base import Panel
from app.protocol.errors import UserError
from app.protocol.status import WorkerStatus
from app.registry import PANELS, PanelSpec
from app.settings import Settings
from app.storage import Storage
from app.widgets.inspector import Inspector

ROOT = Path(__file__).resolve().parents[2]


class FakeEngine(QObject):
    """An engine that notes what is asked of it."""

    status = Signal(object)

    def __init__(self, *, ends: bool = True) -> None:
        super().__init__()
        self.ends = ends
        self.asked: list[str] = []

    def start(self) -> None:
        self.asked.append("start")

    def cancel_all(self) -> None:
        self.asked.append("cancel")

    def close(self, seconds: float) -> bool:
        self.asked.append("close")
        return self.ends


class NotesPanel(Panel):
    """A panel that notes its life."""

    panel_id, title = "notes", "Notes"

    def __init__(self, engine, settings, parent=None) -> None:
        super().__init__(engine, settings, parent)
        self.text = QLineEdit()
        self.text.textChanged.connect(self.touch)
        self.arrange(self.text, QLabel("hero"), QLabel("timeline"), QLabel("inspector"))
        self.lived: list[str] = []
        self.dropped: list[str] = []

    def save_state(self) -> dict:
        return {"text": self.text.text()}

    def restore_state(self, state: dict) -> None:
        self.text.setText(state["text"])

    def ready(self) -> None:
        self.lived.append("ready")

    def accept_drop(self, mime) -> bool:
        self.dropped += [url.fileName() for url in mime.urls()]
        return bool(mime.urls())

    def key_help(self):
        return [("B", "Brush")]


class OtherPanel(NotesPanel):
    """A second one."""

    panel_id, title = "other", "Other"


class RefusingPanel(Panel):
    """Has no use for drops."""

    panel_id, title = "refusing", "Refusing"


class BrokenPanel(Panel):
    """Cannot be made."""

    def __init__(self, *_args) -> None:
        raise UserError("The weights are missing.", hint="Fetch them.")


HERE = f"{__name__}:"
REGISTRY = (
    PanelSpec("notes", "Notes", "Words", "info", HERE + "NotesPanel", "A panel for notes"),
    PanelSpec("other", "Other", "Words", "map", HERE + "OtherPanel"),
    PanelSpec("broken", "Broken", "Words", "error", HERE + "BrokenPanel"),
)


@pytest.fixture
def open_window(qtbot, qapp, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[NotesPanel.__module__])
    theme.apply("light")
    opened = []

    def make(*, engine=None, registry=REGISTRY, show=True) -> MainWindow:
        engine = engine or FakeEngine()
        window = MainWindow(engine, registry, Settings(tmp_path, Storage()), leave=opened.append)
        opened.append(window)
        qtbot.addWidget(window)
        if show:
            with qtbot.waitSignal(window.painted):
                window.show()
            window.activateWindow()
            qtbot.waitUntil(window.isActiveWindow)
        return window

    yield make
    for window in opened:
        if isinstance(window, MainWindow):
            window.close()
            window.settings.storage.close()


def test_the_worker_starts_after_the_window_is_painted(open_window, qtbot):
    engine = FakeEngine()
    window = open_window(engine=engine, show=False)
    panel = window.current_panel()
    assert engine.asked == [] and panel.lived == []
    order = []
    window.painted.connect(lambda: order.append(list(engine.asked)))
    with qtbot.waitSignal(window.painted):
        window.show()
    qtbot.waitUntil(lambda: panel.lived == ["ready"])
    assert order == [[]] and engine.asked == ["start"]
    window.repaint()
    QApplication.processEvents()
    assert engine.asked == ["start"]


def test_panels_are_made_on_first_show_and_told_once(open_window):
    window = open_window()
    assert list(window._panels) == ["notes"]
    window.side_bar.buttons["other"].click()
    assert list(window._panels) == ["notes", "other"]
    assert window.current_panel().lived == ["ready"]
    window.show_panel("notes")
    window.show_panel("other")
    assert window.current_panel().lived == ["ready"]


def test_a_low_window_has_no_headings_a_very_low_one_no_names_and_nothing_is_cut(open_window):
    many = tuple(replace(REGISTRY[0], id=f"notes-{n}", title=f"Attention {n}", family=f"Family {n // 3}") for n in range(10))
    window = open_window(registry=many)
    bar, seen = window.side_bar, []
    for height in (window.minimumHeight(), 900, 700, window.minimumHeight(), 900):
        window.resize(1000, height)
        QApplication.processEvents()
        buttons, headings = list(bar.buttons.values()), [label.isVisible() for label in bar.findChildren(QLabel)]
        named = {button.toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonTextUnderIcon for button in buttons}
        assert len(set(headings)) == 1 and len(named) == 1
        seen.append((headings[0], named.pop()))
        assert all(button.height() >= button.sizeHint().height() for button in buttons)
        assert buttons[-1].geometry().bottom() < bar.height() and len({button.width() for button in buttons}) == 1
    assert seen == [(False, False), (True, True), (False, True), (False, False), (True, True)]


def test_what_the_style_sheet_cannot_mark_has_a_ring_while_it_has_the_focus(open_window, qtbot):
    window = open_window()
    panel, inspector = window.current_panel(), Inspector()
    panel.body.addWidget(inspector)
    QApplication.processEvents()
    inspector.setFocus()
    assert window._ring.around is inspector
    window.resize(900, 700)
    QApplication.processEvents()
    shot, ink = inspector.grab().toImage(), theme.colour("focus").rgb()
    right, bottom = shot.width() - 1, shot.height() - 1
    assert all(shot.pixel(*at) == ink for at in ((0, 0), (right, bottom), (1, bottom), (right, 1)))
    assert shot.pixel(5, bottom - 5) != ink
    panel.text.setFocus()
    assert window._ring.around is None and inspector.grab().toImage().pixel(0, 0) != ink
    inspector.setFocus()
    inspector.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    panel.text.setFocus()
    assert window._ring.around is None
    panel.setFocus()
    assert window._ring.around is None  # it is no stop of Tab


def test_the_tenth_panel_has_a_key_too_and_the_title_names_what_is_on_show(open_window, qtbot):
    many = tuple(replace(REGISTRY[0], id=f"notes-{n}", title=f"Notes {n}") for n in range(1, 12))
    window = open_window(registry=many)
    assert window.windowTitle() == "Notes 1 - Glassbox"
    qtbot.keyClick(window, Qt.Key.Key_0, Qt.KeyboardModifier.AltModifier)
    assert window.windowTitle() == "Notes 10 - Glassbox"
    tips = [button.toolTip() for button in window.side_bar.buttons.values()]
    assert "(Alt+9)" in tips[8] and "(Alt+0)" in tips[9] and "Alt" not in tips[10]
    window.show_page("settings")
    assert window.windowTitle() == "Settings - Glassbox"


def test_what_one_panel_hands_to_another_is_brought_to_the_front(open_window):
    """What has grown reaches a panel that is there, and moves nobody."""
    window = open_window()
    notes, got = window.current_panel(), []
    notes.told.emit("other", "early")
    assert list(window._panels) == ["notes"]
    notes.handed.emit("broken", "lost")
    notes.handed.emit("nowhere", "lost")
    assert window.current_panel() is notes
    other = window.panel("other")
    other.take, other.follow = lambda what: got.append(("take", what)), lambda what: got.append(("follow", what))
    notes.handed.emit("other", "first")
    assert window.current_panel() is other
    window.show_panel("notes")
    notes.told.emit("other", "more")
    assert window.current_panel() is notes and got == [("take", "first"), ("follow", "more")]


def test_a_panel_that_cannot_be_made_is_said_and_the_old_one_stays(open_window):
    window = open_window()
    window.show_panel("broken")
    assert window.banner.text() == "The weights are missing."
    assert window.stack.currentWidget() is window.current_panel() is window.panel("notes")


def test_the_panel_on_show_and_its_state_come_back(open_window, qtbot):
    first = open_window()
    first.show_panel("other")
    first.current_panel().text.setText("remember me")
    first.close()
    second = open_window(show=False)
    assert second.current_panel().panel_id == "other"
    assert second.current_panel().text.text() == "remember me"


def test_panel_state_is_on_disk_soon_after_a_change_without_closing(open_window, qtbot, tmp_path):
    window = open_window()
    window.current_panel().text.setText("crash")
    state = tmp_path / "panels" / "notes.json"
    qtbot.waitUntil(lambda: state.exists() and "crash" in state.read_text())


def test_a_state_the_panel_does_not_understand_is_left_aside(open_window, tmp_path):
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "notes.json").write_text('{"version": 1, "state": {"txet": 1}}')
    window = open_window(show=False)
    assert "could not be restored" in window.current_panel().banner.text()


def test_pages_open_close_and_list_the_keys(open_window, qtbot):
    window = open_window()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    assert window.stack.currentWidget() is window.pages["keys"]
    table = window.pages["keys"].table
    rows = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount())]
    assert ["Notes", "B", "Brush"] in rows and ["transport", "Space", "Play or pause"] in rows
    window.pages["keys"].search.setText("brush")
    assert [row[2] for at, row in enumerate(rows) if not table.isRowHidden(at)] == ["Brush"]
    qtbot.keyClick(window.pages["keys"], Qt.Key.Key_Escape)
    assert window.stack.currentWidget() is window.current_panel()


def test_question_mark_opens_the_keys_but_not_while_typing(open_window, qtbot):
    window = open_window()
    field = window.current_panel().text
    field.setFocus()
    qtbot.keyClick(field, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    assert field.text() == "?" and window.stack.currentWidget() is window.current_panel()
    window.current_panel().setFocus()
    qtbot.keyClick(window, Qt.Key.Key_Question, Qt.KeyboardModifier.ShiftModifier)
    assert window.stack.currentWidget() is window.pages["keys"]


def test_settings_page_changes_theme_live_and_saves(open_window):
    window = open_window()
    window.show_page("settings")
    page = window.pages["settings"]
    page.theme.setCurrentText("Dark")
    page.threads.setValue(1)
    page.device.setCurrentText("cpu")
    page.motion.setChecked(True)
    assert theme.tokens() is theme.DARK and theme.reduced_motion()
    values = [window.settings.get(key) for key in ("theme", "threads", "device", "reduced_motion")]
    assert values == ["dark", 1, "cpu", True]
    page.motion.setChecked(False)
    theme.apply("light")


def test_status_and_cancel(open_window, qtbot):
    window = open_window()
    window.engine.status.emit(WorkerStatus(state="txt2img step 7/20", run_id=1, device="cpu", dtype="bf16"))
    assert "txt2img step 7/20" in window.status.text()
    qtbot.mouseClick(window.status.cancel, Qt.MouseButton.LeftButton)
    assert window.engine.asked == ["start", "cancel"]


def _drop(window, mime):
    where, no_keys = QPoint(300, 300), Qt.KeyboardModifier.NoModifier
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    enter = QDragEnterEvent(where, copy, mime, left, no_keys)
    QApplication.sendEvent(window, enter)
    if enter.isAccepted():
        QApplication.sendEvent(window, QDropEvent(QPointF(where), copy, mime, left, no_keys))
    return enter.isAccepted()


def test_drops_go_to_the_panel_on_show(open_window):
    window = open_window()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile("/pictures/map.png")])
    assert _drop(window, mime)
    assert window.current_panel().dropped == ["map.png"] and window.banner.text() == ""


@pytest.mark.parametrize("name, taken", [("map.PNG", True), ("map.pdf", False)])
def test_a_drop_that_the_panel_on_show_refuses_is_brought_where_it_is_of_use(open_window, name, taken):
    refusing = PanelSpec("refusing", "Refusing", "Words", "info", HERE + "RefusingPanel")
    window = open_window(registry=(refusing, replace(REGISTRY[0], drops=(".png",))))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(f"/pictures/{name}")])
    assert _drop(window, mime)
    assert window.current_panel().panel_id == ("notes" if taken else "refusing") and bool(window.banner.text()) is not taken
    if taken:
        assert window.current_panel().dropped == [name] and window.side_bar.buttons["notes"].isChecked()


def test_a_drop_nobody_wants_is_said(open_window):
    window = open_window()
    mime = QMimeData()
    mime.setText("just words")
    assert _drop(window, mime)
    assert "can open what was dropped" in window.banner.text()


def test_an_unhandled_exception_is_shown_and_the_window_lives(open_window, qtbot):
    window = open_window()
    try:
        raise ValueError("unexpected")
    except ValueError as error:
        window.on_exception(type(error), error, error.__traceback__)
    assert window.banner.text() == "ValueError: unexpected"
    assert "test_main_window" in window.banner._details.toPlainText()
    assert window.isVisible()


def test_a_file_that_cannot_be_written_is_said(open_window, qtbot, tmp_path):
    window = open_window()
    (tmp_path / "blocked").write_text("a file, not a folder")
    window.settings.storage.write(tmp_path / "blocked" / "map.png", b"x")
    qtbot.waitUntil(lambda: "map.png could not be saved" in window.banner.text())


def test_layout_is_restored(open_window):
    first = open_window()
    first.resize(800, 650)
    first.close()
    second = open_window()
    assert (second.width(), second.height()) == (800, 650)


@pytest.mark.parametrize("broken", [{"version": 99, "geometry": ""}, {"version": 1, "geometry": "%%%"}, {"version": 1}])
def test_a_corrupt_layout_is_ignored_with_a_log_line(open_window, caplog, tmp_path, broken):
    (tmp_path / "settings.json").write_text(json.dumps({"version": 1, "values": {"window": broken}}))
    window = open_window(show=False)
    assert "layout is not understood" in caplog.text
    assert (window.width(), window.height()) == (1280, 800)


def test_splitters_of_a_panel_are_remembered(open_window):
    first = open_window()
    first.resize(800, 650)
    QApplication.processEvents()
    split = first.current_panel()._splitters["columns"]
    split.setSizes([200, 300, 177])
    sizes = split.sizes()
    split.splitterMoved.emit(200, 1)
    first.close()
    second = open_window()
    assert second.current_panel()._splitters["columns"].sizes() == sizes


def test_closing_saves_ends_the_worker_and_does_not_leave_hard(open_window):
    window = open_window()
    left = window._leave.__self__
    window.close()
    assert window.engine.asked == ["start", "close"] and not window.isVisible()
    assert 0 not in left
    assert window.settings.storage.close()


def test_a_worker_that_does_not_end_is_left_hard(open_window):
    window = open_window(engine=FakeEngine(ends=False))
    left = window._leave.__self__
    window.close()
    assert left[-1] == 0


def test_a_panel_that_fails_while_closing_does_not_stop_the_closing(open_window, monkeypatch):
    window = open_window()
    monkeypatch.setattr(window.current_panel(), "about_to_close", lambda: 1 / 0)
    window.close()
    assert window.engine.asked[-1] == "close"


def test_settings_that_were_broken_are_said_at_the_start(open_window, tmp_path):
    (tmp_path / "settings.json").write_text("{")
    window = open_window(show=False)
    assert "settings.json.broken" in window.banner.text()


def test_every_button_has_a_name_and_a_tooltip(open_window):
    from PySide6.QtWidgets import QAbstractButton

    window = open_window()
    for button in window.findChildren(QAbstractButton):
        if button.isVisible():
            named = button.accessibleName() or button.text()
            assert named, button
            assert button.toolTip(), named


def test_the_registry_has_an_icon_a_title_and_a_unique_id_for_each_panel():
    from app.widgets.icons import NAMES

    assert len({spec.id for spec in PANELS}) == len(PANELS)
    for spec in PANELS:
        assert spec.icon in NAMES and spec.title and spec.family and spec.target.count(":") == 1


def test_importing_the_window_does_not_import_torch():
    code = "import sys, app.main_window, app.screenshots; print([m for m in ('torch', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


RUN_WINDOW = """
import sys, threading
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QApplication
import app.engine, app.main_window

class Engine(QObject):
    status = Signal(object)
    last_status = None
    def __init__(self, *, threads, device): super().__init__(); print("made", threads, device)
    def start(self): print("start", flush=True); QTimer.singleShot(0, fail)
    def close(self, seconds): print("close"); return True
    def cancel_all(self): pass

def window():
    return next(w for w in QApplication.topLevelWidgets() if isinstance(w, app.main_window.MainWindow))

def fail():
    QTimer.singleShot(0, look)
    raise ValueError("in a slot")

def look():
    print(window().banner.text())
    thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
    QTimer.singleShot(0, look_again)

def look_again():
    print(window().banner.text())
    window().close()

app.engine.Engine = Engine
app.main_window.PANELS = ()
code = app.main_window.run_window(["glassbox"])
print(code, "torch" in sys.modules)
"""


def test_the_program_runs_survives_exceptions_and_leaves(tmp_path):
    environment = {**os.environ, "GLASSBOX_HOME": str(tmp_path), main_window.STARTUP_LOG: "-"}
    done = subprocess.run(
        [sys.executable, "-c", RUN_WINDOW], cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "made None auto" and lines[1].startswith("painted "), done.stderr
    assert lines[2:] == [
        "start", "ValueError: in a slot", "ZeroDivisionError: division by zero", "close", "0 False",
    ], done.stderr  # fmt: skip
    assert (tmp_path / "config" / "settings.json").exists()


def test_startup_log_gets_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv(main_window.STARTUP_LOG, str(tmp_path / "log"))
    main_window._log_startup("painted")
    what, when = (tmp_path / "log").read_text().split()
    assert what == "painted" and float(when) > 1.6e9


# screenshots ---------------------------------------------------------------------------------------------------


class Run:
    """A run that ends after some looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def state(self) -> str:
        self.looks -= 1
        return "done" if self.looks < 0 else "running"


def test_scenes_wait_for_runs_and_seconds():
    run, events = Run(5), []

    def scene():
        events.append("start")
        yield run
        events.append(run.looks < 0)
        yield 0.0
        events.append("end")

    screenshots.play(scene(), lambda: None)
    assert events == ["start", True, "end"]


def test_a_scene_that_takes_too_long_is_left_out_and_the_others_are_pictured(monkeypatch, capsys):
    monkeypatch.setattr(screenshots, "RUN_WITHIN_S", 0.01)

    class Scenes:
        def screenshot_scenes(self):
            return [("", lambda panel: None), ("endless", lambda panel: iter([Run(10**9)])), ("last", lambda panel: None)]

    saved = []
    assert not screenshots.picture_panel(Scenes(), "notes", saved.append, lambda: None)
    assert saved == ["notes", "notes-last"]
    assert "notes-endless is left out." in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, made",
    [(["out"], ("out", (), 1.0)), (["out", "--scale", "2"], ("out", (), 2.0)), (["out", "rl", "plane"], ("out", ("rl", "plane"), 1.0))],
)
def test_screenshot_words(words, made):
    folder, *rest = screenshots.parse(words)
    assert (str(folder), *rest) == made


@pytest.mark.parametrize("words", [[], ["--scale", "2"], ["a", "no such panel"], ["a", "--scale", "nan"], ["a", "--scale"]])
def test_screenshot_words_that_make_no_sense(words):
    with pytest.raises(UserError):
        screenshots.parse(words)


def test_screenshots_come_in_both_themes(open_window, tmp_path):
    window = open_window()
    screenshots._save_both(window, tmp_path, "notes", QApplication.processEvents)
    assert sorted(os.listdir(tmp_path))[:2] == ["notes-dark.png", "notes-light.png"]
    assert (tmp_path / "notes-dark.png").read_bytes() != (tmp_path / "notes-light.png").read_bytes()
