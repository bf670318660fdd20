"""Links what is looked at to all views: hovering in one lights the others, and another head fetches its map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.panels.attention.explain import SIMILARITY, caution, focus_in_words, head_page, profile_in_words
from app.panels.attention.maps import Profile
from app.panels.attention.picture_view import TEACH
from app.panels.attention.selection import Focus
from app.panels.attention.sides import OTHER, Axis, one_text, side, text_axis, turnable
from app.protocol.attention import Looked, OverviewMaps

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel


class Viewing(QObject):
    """Reads selection and maps, writes to the views."""

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.pictured = False
        """Whether what was on show last lies on a picture."""
        stage, selection, maps = panel.stage, panel.selection, panel.maps
        for signal, slot in (
            (selection.heads_changed, self._on_heads), (selection.focus_changed, self._on_focus),
            (maps.changed, self._on_map), (maps.profiled, self._on_focus),
            (stage.options.view_changed, self._on_view), (stage.options.looks_changed, self._on_looks),
            (stage.options.colours_changed, self._on_colours), (stage.direction.activated, self._on_direction),
            (stage.chips.hovered, self._on_chip), (stage.chips.clicked, self._on_chip_clicked),
            (stage.map.hovered, selection.point_cell), (stage.map.clicked, self._on_cell_clicked),
            (stage.map.window_changed, self._on_window),
            (stage.arcs.hovered, self._on_arc), (stage.arcs.clicked, self._on_arc_clicked), (stage.arcs.window_changed, self._on_window),
            (stage.picture.hovered, self._on_patch), (stage.picture.clicked, self._on_patch_clicked),
            (stage.heads.grid.selected, selection.select),
        ):  # fmt: skip
            signal.connect(slot)
        self._set_colours()

    @property
    def _looked(self) -> Looked | None:
        return self._panel.looked

    # another source ------------------------------------------------------------------------------------------------

    def begin(self, looked: Looked) -> None:
        """Show the sides of another source, still without weights."""
        stage, selection = self._panel.stage, self._panel.selection
        axis = text_axis(looked)
        stage.show_views()
        stage.keep_end(False)
        stage.set_text_shown(axis is not None)
        if axis is not None:
            stage.chips.set_tokens((looked.rows if axis == "rows" else looked.columns).texts)
        pictures = {"picture"} if looked.picture is not None else set()
        lines = {"arcs"} if axis is not None and looked.row_grid is None and looked.column_grid is None else set()
        edits = {"edit"} if looked.source == "text" else set()
        rollout = {"rollout"} if turnable(looked) and looked.source != "unet-self" else set()
        sums = {"sum"} if looked.source == "unet-words" else set()
        able = {"map"} | pictures | lines | edits | rollout | sums
        stage.options.set_able(able, drop=one_text(looked), signed=looked.source == SIMILARITY)
        if pictures and not self.pictured:  # what lies on a picture is first shown there
            stage.options.set_view("picture")
        self.pictured = bool(pictures)
        stage.heads.begin(looked)
        selection.begin(looked)
        stage.direction.setEnabled(turnable(looked))
        stage.direction.setCurrentIndex(stage.direction.findData(selection.axis))
        stage.heads.grid.select(selection.layer, selection.heads)
        self._set_axes()
        self._tell_head()
        self._on_focus()

    def grow(self, looked: Looked) -> None:
        """The text on show goes on: its map stays until the larger one comes, and so do heads, pins and ways of looking."""
        stage, texts = self._panel.stage, looked.rows.texts
        stage.chips.set_tokens(texts)
        stage.map.grow_axes(texts, texts)
        stage.arcs.set_axes(texts, texts)
        parts, whole = self._panel.maps.parts(), self._panel.maps.whole
        stage.arcs.set_part(parts[-1] if parts else None, whole.caption if whole is not None else "")
        stage.keep_end(True)

    def _set_axes(self) -> None:
        """Rows and columns of the layer on show."""
        looked, stage, layer = self._looked, self._panel.stage, self._panel.selection.layer
        if looked is None:
            return
        rows, columns = side(looked, "rows", layer), side(looked, "columns", layer)
        names = ("cell" if rows.grid else "query", "cell" if columns.grid else "key")
        stage.map.set_axes(rows.texts, columns.texts, causal=looked.causal, names=names)
        stage.arcs.set_axes(rows.texts, columns.texts)
        self.show_picture(looked)
        self._shown_layer = layer

    def show_picture(self, looked: Looked) -> None:
        """What the cells lie on, and whose cells they are."""
        layer = self._panel.selection.layer
        rows, columns = side(looked, "rows", layer), side(looked, "columns", layer)
        self._panel.stage.picture.set_picture(looked.picture, rows if rows.grid else columns)

    def show_overview(self, overview: OverviewMaps) -> None:
        """Thumbnails and scores, perhaps not yet all."""
        self._panel.stage.heads.set_overview(overview)
        self._tell_head()

    # another head, another map -------------------------------------------------------------------------------------

    @Slot()
    def _on_heads(self) -> None:
        panel = self._panel
        panel.stage.heads.grid.select(panel.selection.layer, panel.selection.heads)
        if self._looked is not None and self._looked.grids and panel.selection.layer != self._shown_layer:
            panel.selection.release()
            self._set_axes()
        panel.maps.ask()
        self._tell_head()
        panel.touch()

    @Slot()
    def _on_map(self) -> None:
        stage, maps = self._panel.stage, self._panel.maps
        parts, caption = maps.parts(), (maps.part or maps.whole).caption if maps.whole is not None else ""
        stage.map.set_parts(parts, caption)
        stage.arcs.set_part(parts[-1] if parts else None, caption)
        if maps.part is None:
            self._on_window()
        self._tell_head()
        self._on_focus()

    @Slot()
    def _on_window(self) -> None:
        """Ask for the exact weights of what is in sight."""
        stage, maps = self._panel.stage, self._panel.maps
        if stage.options.view == "arcs" and self._looked is not None:
            maps.ask_window(stage.arcs.window(), (0, len(self._looked.columns.texts)), most=4096)
        else:
            maps.ask_window(stage.map.place.rows.window(), stage.map.place.columns.window())

    def _tell_head(self) -> None:
        panel, looked = self._panel, self._looked
        if looked is not None:
            selection, overview = panel.selection, panel.stage.heads.overview
            shown = panel.maps.part or panel.maps.whole
            page = head_page(looked, shown, overview, selection.layer, selection.heads, panel.maps.looks)
            panel.side.head.set_content(*page)

    # tokens --------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_focus(self) -> None:
        """Light what is pointed at or pinned in every view, and shade the other side by its weights."""
        panel, looked = self._panel, self._looked
        if looked is None:
            return
        stage, selection = panel.stage, panel.selection
        focus, profile = selection.focus, panel.maps.profile(selection.focus)
        pins = {axis: selection.pinned.tokens if selection.pinned and selection.pinned.axis == axis else () for axis in OTHER}
        cross = {axis: focus.tokens[0] if focus and focus.axis == axis and selection.pointed else -1 for axis in OTHER}
        cell = selection.cell if selection.cell[0] >= 0 else (cross["rows"], cross["columns"])
        stage.map.set_cross(*cell)
        stage.map.set_marked(pins["rows"], pins["columns"])
        stage.arcs.set_cross(cross["rows"], cross["columns"])
        stage.arcs.set_pinned(pins["rows"], pins["columns"])
        self._shade(looked, focus, profile, cell)
        count = len(side(looked, "rows", selection.layer).texts)
        stage.heads.grid.set_row((cell[0] + 0.5) / count if cell[0] >= 0 else -1.0)
        self._tell_token(looked, profile)

    def _shade(self, looked: Looked, focus: Focus | None, profile: Profile | None, cell: tuple[int, int]) -> None:
        stage, selection, log = self._panel.stage, self._panel.selection, self._panel.stage.options.log.isChecked()
        told = profile_in_words(looked, profile, selection.layer, selection.heads, self._panel.maps.looks)
        chips = text_axis(looked)
        on_chips = profile is not None and chips is not None and (one_text(looked) or OTHER[profile.focus.axis] == chips)
        stage.chips.set_shades(profile.weights if on_chips else None, log=log, note=told)
        stage.told.setText(f"{told} · {stage.chips.scale.words('shades')}" if on_chips else told)
        own = focus is not None and (one_text(looked) or focus.axis == chips)
        stage.chips.set_pinned(selection.pinned.tokens if selection.pinned and (one_text(looked) or selection.pinned.axis == chips) else ())
        stage.chips.set_lit(focus.tokens[0] if own and selection.pointed and chips is not None else cell[1] if chips == "columns" else -1)
        on_picture = profile is not None and side(looked, OTHER[profile.focus.axis], selection.layer).grid is not None
        same = profile is not None and side(looked, profile.focus.axis, selection.layer).grid is not None
        marked = profile.focus.tokens if on_picture and same else ()
        stage.picture.set_weights(profile.weights if on_picture else None, told if on_picture else TEACH, log=log, marked=marked)

    def _tell_token(self, looked: Looked, profile: Profile | None) -> None:
        panel = self._panel
        if profile is None:
            panel.side.token.show_profile("", None, ())
        else:
            texts = side(looked, OTHER[profile.focus.axis], panel.selection.layer).texts
            panel.side.token.show_profile(focus_in_words(looked, profile.focus, panel.selection.layer), profile, texts, caution(looked))

    # what the views tell -------------------------------------------------------------------------------------------

    def _chip_axis(self) -> Axis:
        looked = self._looked
        axis = text_axis(looked) if looked is not None else None
        return self._panel.selection.axis if looked is not None and one_text(looked) else axis or "rows"

    def _patch_axis(self) -> Axis:
        looked, selection = self._looked, self._panel.selection
        if looked is not None and looked.row_grid is not None and looked.column_grid is not None:
            return selection.axis
        return "rows" if looked is not None and looked.row_grid is not None else "columns"

    @Slot(int)
    def _on_chip(self, token: int) -> None:
        self._panel.selection.point(self._chip_axis(), token)

    @Slot(int, bool)
    def _on_chip_clicked(self, token: int, more: bool) -> None:
        self._panel.selection.pin(self._chip_axis(), token, more)

    @Slot(int, int, bool)
    def _on_cell_clicked(self, row: int, column: int, more: bool) -> None:
        axis = self._panel.selection.axis
        self._panel.selection.pin(axis, row if axis == "rows" else column, more)
        if self._chip_axis() == axis:
            self._panel.stage.reveal(row if axis == "rows" else column)

    @Slot(int, int)
    def _on_arc(self, row: int, column: int) -> None:
        self._panel.selection.point(*(("rows", row) if column < 0 else ("columns", column)))

    @Slot(int, int, bool)
    def _on_arc_clicked(self, row: int, column: int, more: bool) -> None:
        self._panel.selection.pin(*(("rows", row) if column < 0 else ("columns", column)), more)

    @Slot(int)
    def _on_patch(self, cell: int) -> None:
        self._panel.selection.point(self._patch_axis(), cell)

    @Slot(int)
    def _on_patch_clicked(self, cell: int) -> None:
        self._panel.selection.pin(self._patch_axis(), cell)

    # options -------------------------------------------------------------------------------------------------------

    @Slot(str)
    def _on_view(self, view: str) -> None:
        self._panel.stage.show_view(view)
        self._on_looks()

    @Slot()
    def _on_looks(self) -> None:
        panel = self._panel
        panel.maps.looks = panel.stage.options.looks()
        panel.maps.ask()
        if panel.maps.part is None:
            self._on_window()
        panel.touch()

    @Slot()
    def _on_colours(self) -> None:
        self._set_colours()
        self._on_focus()
        self._panel.touch()

    def _set_colours(self) -> None:
        stage = self._panel.stage
        log = stage.options.log.isChecked()
        stage.map.set_log(log)
        stage.heads.grid.set_log(log)
        stage.arcs.set_threshold(stage.options.threshold.value())

    @Slot()
    def _on_direction(self) -> None:
        self._panel.selection.turn(self._panel.stage.direction.currentData())
        self._panel.touch()
