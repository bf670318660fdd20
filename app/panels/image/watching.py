"""Folds a run into the views: lenses, result, film strip, sigma curve, numbers; and moves about in time.

Live following is nothing but standing on the newest step: whoever scrubs back stays there, and whoever comes to the
end again follows.
"""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.jobs.diffusion import DecodeLatent, PictureRecord
from app.panels.errands import Errands
from app.panels.image.film import LENSES, Film
from app.panels.image.runs import IDLE, PAUSED, Runs
from app.panels.image.side_view import SideView
from app.panels.image.timeline import Timeline
from app.panels.image.watch_view import WatchView
from app.protocol.errors import UserError
from app.protocol.payloads import Image, Result

REPLAY_MS = 120


class Watching(QObject):
    """Shows `Runs.film` in all views, and steers run and views by the transport."""

    result_shown = Signal(object)
    """Image: another finished picture is on show."""
    failed = Signal(object)

    def __init__(self, runs: Runs, view: WatchView, timeline: Timeline, side: SideView, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._runs, self._view, self._timeline, self._side, self._errands = runs, view, timeline, side, errands
        self._replay = QTimer(self, interval=REPLAY_MS)
        self._replay.timeout.connect(self._on_replay)
        self._connect()

    def _connect(self) -> None:
        runs, bar, strip = self._runs, self._timeline.transport, self._timeline.strip
        runs.began.connect(self._on_began)
        runs.planned.connect(self._on_planned)
        runs.kept.connect(self._on_kept)
        runs.finished_picture.connect(self._on_picture)
        runs.state_changed.connect(self._on_state)
        runs.busy.connect(self._timeline.set_busy)
        for signal, slot in (
            (bar.first, self.go_first), (bar.previous, self.go_back), (bar.next, self.go_on), (bar.last, self.go_last),
            (bar.play, self.play), (bar.pause, self.pause), (bar.stop, self.stop),
            (strip.selected, self.go), (self._side.step_chosen, self._on_curve),
            (self._view.decode_requested, self.decode), (self._timeline.lens_changed, self._on_lens),
        ):  # fmt: skip
            signal.connect(slot)

    # moving in time ------------------------------------------------------------------------------------------------

    @Slot(int)
    def go(self, number: int) -> None:
        """Look at a step; beyond the newest is the newest, and there the view follows the run."""
        if self._runs.film:
            self._runs.film.go(number)
            self._show()

    @Slot()
    def go_first(self) -> None:
        """The first step."""
        self.go(1)

    @Slot()
    def go_back(self) -> None:
        """One step back."""
        if self._runs.film:
            self.go(self._runs.film.position - 1)

    @Slot()
    def go_on(self) -> None:
        """One step on; at the end of a paused run, compute it."""
        film = self._runs.film
        if film and not film.live:
            self.go(film.position + 1)
        elif self._runs.state == PAUSED:
            self._runs.step()

    @Slot()
    def go_last(self) -> None:
        """The newest step, and follow the run from there."""
        if self._runs.film:
            self.go(self._runs.film.last)

    @Slot(int)
    def _on_curve(self, step: int) -> None:
        if self._runs.film:
            self.go(self._runs.film.number_of(min(max(step, 1), self._runs.film.job.steps)))

    # running -------------------------------------------------------------------------------------------------------

    @Slot()
    def play(self) -> None:
        """Go on with a paused run; without a run, play the film again."""
        film = self._runs.film
        if self._runs.state == PAUSED:
            self.go_last()
            self._runs.resume()
        elif self._runs.state == IDLE and film and film.last:
            if film.live:
                film.go(1)
            self._replay.start()
            self._show()

    @Slot()
    def pause(self) -> None:
        """Stand still: the run, or the replay."""
        if self._replay.isActive():
            self._end_replay()
        else:
            self._runs.pause()

    @Slot()
    def stop(self) -> None:
        """End the run, or the replay; the steps so far stay."""
        if self._replay.isActive():
            self._end_replay()
        self._runs.stop()

    @Slot()
    def _on_replay(self) -> None:
        film = self._runs.film
        if film is None or film.live or self._runs.active:
            self._end_replay()
        else:
            self.go(film.position + 1)

    def _end_replay(self) -> None:
        self._replay.stop()
        self._show()

    def close(self) -> None:
        """Stop all that ticks."""
        self._replay.stop()

    # what the run tells --------------------------------------------------------------------------------------------

    @Slot(object)
    def _on_began(self, film: Film) -> None:
        self._replay.stop()
        self._timeline.begin(film)
        self._side.begin_run(film.job)
        for lens in LENSES:
            self._view.show_lens(lens, None)
        self._timeline.set_busy("Waiting for the worker")
        if self._view.result.image() is not None:
            self._view.result.set_note("of the run before")

    @Slot(object)
    def _on_planned(self, _start: object) -> None:
        film = self._runs.film
        self._timeline.set_windows(film)
        self._side.set_run(film)
        self._view.set_maps({})

    @Slot(int)
    def _on_kept(self, number: int) -> None:
        film = self._runs.film
        self._timeline.add(film, number)
        if film.live:
            self._show(following=True)
        else:
            self._timeline.show_position(film, self._state())

    @Slot(object)
    def _on_picture(self, record: PictureRecord) -> None:
        self._show_result(record)

    @Slot(str)
    def _on_state(self, state: str) -> None:
        self._view.set_running(state != IDLE)
        self._show()

    @Slot()
    def _on_lens(self) -> None:
        film = self._runs.film
        if film:
            for number in sorted(film.steps):
                self._timeline.add(film, number)
        self._timeline.show_position(film, self._state())

    # showing -------------------------------------------------------------------------------------------------------

    def _state(self) -> str:
        return "running" if self._replay.isActive() else self._runs.state

    def _show(self, *, following: bool = False) -> None:
        film = self._runs.film
        self._timeline.show_position(film, self._state())
        self._side.show_step(film, following=following)
        if film is None or film.record() is None:
            return
        for lens in LENSES:
            self._view.show_lens(lens, film.view(lens))
        picture = film.picture()
        if picture is not None and picture.image is not self._view.result.image():
            self._show_result(picture)

    def _show_result(self, record: PictureRecord) -> None:
        film = self._runs.film
        many = f"picture {record.picture + 1} of {film.job.batch_count}" if film.job.batch_count > 1 else ""
        self._view.set_result(record.image, many)
        self._view.set_maps(film.start.get("maps", {}))
        self.result_shown.emit(record.image)

    # exact decoding ------------------------------------------------------------------------------------------------

    @Slot(str)
    def decode(self, lens: str) -> None:
        """Decode what a lens shows with the full VAE, or go back to the quick picture."""
        film = self._runs.film
        if film is None or film.record() is None:
            return
        if film.is_exact(lens):
            film.drop_exact(lens)
            self._view.show_lens(lens, film.view(lens))
            return
        try:
            job = DecodeLatent.of(film.record(), lens, film.job.model)
        except UserError as error:
            self.failed.emit(error)
            return
        self._view.lenses[lens].image.set_note("decoding …")
        done = partial(self._on_decoded, film, film.position, lens)
        self._errands.run(job, done, key=f"decode-{lens}", failed=partial(self._on_not_decoded, lens))

    def _on_decoded(self, film: Film, number: int, lens: str, result: Result) -> None:
        image: Image = result.files["image.png"]
        self._view.lenses[lens].image.set_note("")
        film.keep_exact(number, lens, image)
        if film is self._runs.film and film.position == number:
            self._view.show_lens(lens, film.view(lens))

    def _on_not_decoded(self, lens: str, report: object) -> None:
        self._view.lenses[lens].image.set_note("")
        self.failed.emit(report)
