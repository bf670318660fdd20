"""The edge canvas: a white-on-black map for the canny ControlNet, drawn by hand or taken from a picture.

Pen, eraser, line, rectangle, ellipse; undo bounded in bytes; zoom and pan; a picture underneath to draw over. The
canvas decodes no files and computes no edges: what is dropped or pasted goes out as paths or pixels, and a preview
of the edges comes back through `set_preview` while the import bar is open. Read next: `canvas_stage` (surface),
`canvas_raster` (strokes as coverage), `canvas_history` (undo).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMimeData, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QActionGroup, QDragEnterEvent, QDropEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QLabel, QSlider, QWidget

from app.protocol.payloads import Image
from app.widgets.canvas_stage import LARGEST_BRUSH, EdgeStage
from app.widgets.canvas_tools import TOOLS
from app.widgets.editor_frame import EditorFrame
from app.widgets.import_bar import ImportBar
from app.widgets.stage_view import from_qimage

LABEL = "canny map, drawn"
SETTLE_MS = 150  # after a stroke, before `changed`: several quick strokes are one change
LARGEST_SIDE = 8192


class EdgeCanvas(EditorFrame):
    """Draw a canny map."""

    changed = Signal()
    picture_dropped = Signal(list)
    picture_pasted = Signal(object)
    import_requested = Signal()
    export_requested = Signal()

    def __init__(self, parent: QWidget | None = None, width: int = 512, height: int = 512) -> None:
        super().__init__(EdgeStage(width, height), "Edge canvas", parent)
        self.stage: EdgeStage
        self.stage.setAccessibleName("Edge map")
        self.stage.setAccessibleDescription("White lines on black, drawn with the pointer")
        self.setAcceptDrops(True)
        self._map: Image | None = None
        self._preview: Image | None = None
        self._encoded: tuple[Image, str] | None = None
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self.changed)
        self.import_bar = ImportBar()
        self.import_bar.hide()
        self.column.insertWidget(1, self.import_bar)
        self._add_tools()
        self._add_brush()
        self._connect()
        self._on_history()
        self._announce()

    def _add_tools(self) -> None:
        group = QActionGroup(self)
        for name, (glyph, text, keys) in TOOLS.items():
            action = self.add_action(name, glyph, text, keys, getattr(self, f"_use_{name}"), checkable=True)
            group.addAction(action)
        self.action("pen").setChecked(True)
        self.bar.addSeparator()
        self.add_action("undo", "undo", "Undo", "Ctrl+Z", self.undo)
        self.add_action("redo", "redo", "Redo", "Ctrl+Shift+Z Ctrl+Y", self.redo)
        self.add_action("clear", "clear", "Clear: start again on black; can be undone", "Ctrl+Delete", self.clear)
        self.bar.addSeparator()
        tint = "Colour: draw the lines in colour, to see them on a bright picture"
        self.add_action("tint", "invert", tint, "C", self._toggle_tint, checkable=True)
        self.add_action("import", "import", "Import: turn a picture into edges", "Ctrl+I", self.import_requested.emit)
        self.add_action("export", "export", "Export: save the map as PNG", "Ctrl+E", self.export_requested.emit)
        self.stage.keys.bind("Ctrl+V", "Paste a picture", self.paste)
        self.stage.keys.bind("Ctrl+C", "Copy the map", self.copy)
        self.stage.keys.bind("Return Enter", "Take the imported edges", self._on_applied, self.importing)
        self.stage.keys.bind("Esc", "Leave the import", self._on_cancelled, self.importing)

    def _add_brush(self) -> None:
        self.brush_label, self.brush_slider = QLabel(), QSlider(Qt.Orientation.Horizontal)
        self.brush_label.setProperty("role", "small")
        self.brush_label.setMinimumWidth(self.brush_label.fontMetrics().horizontalAdvance("Brush 64 px"))
        self.brush_slider.setRange(1, LARGEST_BRUSH)
        self.brush_slider.setFixedWidth(96)
        self.brush_slider.setAccessibleName("Brush size")
        self.brush_slider.setToolTip("Diameter of the brush in pixels of the map ([ and ])")
        self.foot.insertWidget(1, self.brush_label)
        self.foot.insertWidget(2, self.brush_slider)
        self._on_brush(self.stage.brush)

    def _connect(self) -> None:
        stage, bar = self.stage, self.import_bar
        self.brush_slider.valueChanged.connect(stage.set_brush)
        stage.brush_changed.connect(self._on_brush)
        stage.edited.connect(self._on_edited)
        stage.history_changed.connect(self._on_history)
        stage.resized_by_edit.connect(self.size_changed)
        stage.pointer_at.connect(self._on_pointer)
        bar.applied.connect(self._on_applied)
        bar.cancelled.connect(self._on_cancelled)

    # ---- the drawing

    def map(self) -> Image:
        """The drawing as three equal channels; the same object until it changes."""
        if self._map is None:
            self._map = Image(np.repeat(self.stage.pixels[:, :, None], 3, axis=2), label=LABEL)
        return self._map

    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return self.stage.is_empty()

    def set_map(self, image: Image, undoable: bool = True) -> None:
        """Take a map as the drawing; if its size is another one, the canvas takes that too and says so."""
        size = self.stage.content
        self.stage.replace(_grey(image), "map", undoable=undoable)
        self._on_edited()
        if self.stage.content != size:
            self.size_changed.emit(image.width, image.height)

    def set_size(self, width: int, height: int) -> None:
        """Make the map another size; the drawing is scaled to fit, never stretched, and can be had back by undo."""
        self.stage.set_size(width, height)
        self._on_edited()

    @Slot()
    def undo(self) -> None:
        """Take back the newest action."""
        self.stage.undo()
        self._on_edited()

    @Slot()
    def redo(self) -> None:
        """Do it again."""
        self.stage.redo()
        self._on_edited()

    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self.stage.history.undo_stack)

    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return bool(self.stage.history.redo_stack)

    def clear_history(self) -> None:
        """Forget all undo and redo steps."""
        self.stage.history.clear()
        self._on_history()

    @Slot()
    def clear(self) -> None:
        """Start again on black."""
        if not self.importing():
            self.stage.replace(np.zeros_like(self.stage.pixels), "clear")
            self._on_edited()

    # ---- tools

    def tool(self) -> str:
        """The tool in use."""
        return self.stage.tool

    def set_tool(self, name: str) -> None:
        """Take up one of `TOOLS`."""
        self.stage.cancel_stroke()
        self.stage.tool, self.stage.hand = name, name == "pan"
        self.action(name).setChecked(True)
        self.stage.update_cursor()
        self.stage.update()
        self._announce()

    def brush(self) -> int:
        """Diameter of the brush in pixels of the map."""
        return self.stage.brush

    def set_brush(self, size: int) -> None:
        """1 to 64."""
        self.stage.set_brush(size)

    def set_tint(self, tinted: bool) -> None:
        """Show the lines in colour; the map stays white."""
        self.stage.set_tint(tinted)
        self.action("tint").setChecked(tinted)

    def _toggle_tint(self) -> None:
        self.set_tint(not self.stage.tinted)

    def _use_pen(self) -> None:
        self.set_tool("pen")

    def _use_eraser(self) -> None:
        self.set_tool("eraser")

    def _use_line(self) -> None:
        self.set_tool("line")

    def _use_rectangle(self) -> None:
        self.set_tool("rectangle")

    def _use_ellipse(self) -> None:
        self.set_tool("ellipse")

    def _use_pan(self) -> None:
        self.set_tool("pan")

    # ---- import

    def importing(self) -> bool:
        """Whether the import bar is open."""
        return not self.import_bar.isHidden()

    def begin_import(self, name: str) -> None:
        """Open the import bar for the picture `name`; the drawing is locked and untouched until applied."""
        self.stage.cancel_stroke()
        self.stage.locked = True
        self.stage.update_cursor()
        self.import_bar.set_name(name)
        self.import_bar.set_advice("")
        self.import_bar.set_ready(False)
        self.import_bar.show()
        self._on_history()
        self.say("Enter takes these edges, Esc leaves the drawing as it was")

    def set_preview(self, image: Image | None) -> None:
        """Show what the imported map would be."""
        self._preview = image
        self.stage.set_preview(image)
        self.import_bar.set_ready(image is not None)

    def end_import(self) -> None:
        """Close the import bar and drop the preview."""
        self.set_preview(None)
        self.stage.locked = False
        self.stage.update_cursor()
        self.import_bar.hide()
        self._on_history()
        self._announce()

    @Slot()
    def _on_applied(self) -> None:
        image = self._preview
        if image is not None:
            self.end_import()
            self.set_map(image)

    @Slot()
    def _on_cancelled(self) -> None:
        self.end_import()

    # ---- clipboard and drops

    def copy(self) -> None:
        """Put the map on the clipboard."""
        height, width = self.stage.pixels.shape
        QGuiApplication.clipboard().setImage(QImage(self.stage.pixels.data, width, height, width, QImage.Format.Format_Grayscale8).copy())

    def paste(self) -> None:
        """Emit what the clipboard holds."""
        self._emit_picture(QGuiApplication.clipboard().mimeData())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasImage() or _paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self._emit_picture(event.mimeData())

    def _emit_picture(self, data: QMimeData) -> None:
        if paths := _paths(data):
            self.picture_dropped.emit(paths)
        elif data.hasImage() and not (image := QImage(data.imageData())).isNull():
            if max(image.width(), image.height()) > LARGEST_SIDE:
                image = image.scaled(LARGEST_SIDE, LARGEST_SIDE, Qt.AspectRatioMode.KeepAspectRatio)
            self.picture_pasted.emit(from_qimage(image))
        else:
            self.say("There is no picture on the clipboard")

    # ---- state

    def save_state(self) -> dict[str, Any]:
        """Drawing (PNG in base64), tool, brush and view choices as a JSON-able dict."""
        image = self.map()
        if self._encoded is None or self._encoded[0] is not image:
            self._encoded = image, _encode(self.stage.pixels)
        return {
            "version": 1, "map": self._encoded[1], "tool": self.tool(), "brush": self.brush(),
            "underlay_opacity": self.underlay_opacity(), "tint": self.stage.tinted,
        }  # fmt: skip

    def restore_state(self, state: dict[str, Any]) -> list[str]:
        """Take back what `save_state` gave; returns a sentence for each part that could not be used."""
        warnings = []
        if "map" in state:
            pixels = _decode(state["map"])
            if pixels is None:
                warnings.append("The saved edge drawing is damaged and was left out.")
            else:
                self.set_map(Image(np.repeat(pixels[:, :, None], 3, axis=2), label=LABEL), undoable=False)
        if state.get("tool", "pen") in TOOLS:
            self.set_tool(state.get("tool", "pen"))
        if isinstance(brush := state.get("brush", 2), int):
            self.set_brush(brush)
        if isinstance(opacity := state.get("underlay_opacity", 0.6), int | float):
            self.set_underlay_opacity(opacity)
        self.set_tint(state.get("tint") is True)
        return warnings

    # ---- what the stage tells

    @Slot()
    def _on_edited(self) -> None:
        self._map = None
        self._settle.start()

    @Slot()
    def _on_history(self) -> None:
        free = not self.importing()
        self.action("undo").setEnabled(free and self.can_undo())
        self.action("redo").setEnabled(free and self.can_redo())
        self.action("clear").setEnabled(free and not self.is_empty())

    @Slot(int)
    def _on_brush(self, size: int) -> None:
        self.brush_slider.setValue(size)
        self.brush_label.setText(f"Brush {size} px")

    @Slot(int, int)
    def _on_pointer(self, x: int, y: int) -> None:
        if not self.importing():
            self.say(f"{TOOLS[self.tool()][1].split(':')[0]}   {x}, {y}")

    def _announce(self) -> None:
        size = self.stage.content
        self.say(f"{TOOLS[self.tool()][1]}   ({size.width()} x {size.height()})")


def _grey(image: Image) -> np.ndarray:
    """The brightest channel of each pixel: a map drawn in any colour keeps all its lines."""
    return image.pixels.max(axis=2)


def _paths(data: QMimeData) -> list[str]:
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()]


def _encode(pixels: np.ndarray) -> str:
    """PNG in base64. A quality of 80 is compression level 1, ten times faster and as small on drawn lines."""
    height, width = pixels.shape
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImage(pixels.data, width, height, width, QImage.Format.Format_Grayscale8).save(buffer, "PNG", 80)
    return base64.b64encode(buffer.data().data()).decode("ascii")


def _decode(text: Any) -> np.ndarray | None:
    """The pixels of a drawing encoded by `_encode`, or None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    image = QImage.fromData(QByteArray(data), "PNG")
    if image.isNull() or max(image.width(), image.height()) > LARGEST_SIDE:
        return None
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].copy()
