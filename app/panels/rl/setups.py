"""What the worker knows of a setup: the preset of an algorithm and an environment, what suits, and whether a changed setup can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, QTimer, Slot

from app.jobs.rl import RlSetup
from app.panels.rl.side_form import ALGOS
from app.protocol.errors import UserError
from app.protocol.payloads import Result
from app.protocol.rl import RunSetup, parse_setup

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

CHECK_AFTER_MS = 250


class Setups(QObject):
    """Asks for presets and checks what is set."""

    def __init__(self, panel: RlPanel) -> None:
        super().__init__(panel)
        self._panel, self._wanted, self._seeds = panel, None, ""
        self._checker = QTimer(self, singleShot=True, interval=CHECK_AFTER_MS)
        self._checker.timeout.connect(self.check)

    @Slot()
    def ask(self, run: RunSetup | None = None, seeds: str = "") -> None:
        """The preset of the pair in the form; `run`: with what differs from it, `seeds`: in the place of its one."""
        algo, env = self._panel.side_form.pair
        self._wanted, self._seeds = run, seeds
        if env:
            job = RlSetup(algo=algo, env=env)
            self._panel.errands.run(job, self._take, key="setup", failed=self._refuse)

    def _take(self, result: Result) -> None:
        form, setup, run = self._panel.side_form, result.files["setup"], self._wanted
        self._wanted = None
        self._offer(result.facts)
        form.set_check("")
        form.set_setup(setup)
        form.train.setEnabled(True)
        if run is not None:
            self._differ(run)
        self._panel.touch()

    def _differ(self, run: RunSetup) -> None:
        try:
            self._panel.side_form.set_run(run)
            if self._seeds:
                self._panel.side_form.seeds.setText(self._seeds)
        except UserError as error:
            self._panel.show_error(error)

    def _refuse(self, report: Any) -> None:
        """The pair does not go together, or is not there: say it under the fields."""
        form = self._panel.side_form
        form.set_check(sentence(report))
        form.note.setText("")  # what is published is about another pair
        form.train.setEnabled(False)
        env = self._panel.side_form.pair[1]
        self._panel.errands.run(RlSetup(env=env), self._take_choices, key="choices", failed=self._no_choices)

    def _take_choices(self, result: Result) -> None:
        self._offer(result.facts)

    def _no_choices(self, _report: Any) -> None:
        """The environment itself cannot be made; that stands under the fields already."""

    def _offer(self, facts: dict[str, Any]) -> None:
        form = self._panel.side_form
        environments = facts.get("environments", ())
        if environments:
            shown = form.env.currentText()
            form.env.blockSignals(True)
            form.env.clear()
            for place, one in enumerate(environments):
                form.env.addItem(one["id"])
                form.env.setItemData(place, one["note"] or one["id"], Qt.ItemDataRole.ToolTipRole)
                form.env.model().item(place).setEnabled(bool(one["ready"]))
            form.env.setEditText(shown)
            form.env.lineEdit().setCursorPosition(0)
            form.env.blockSignals(False)
        for one in facts.get("algorithms", ()):
            place = form.algo.findData(one["name"])
            form.algo.model().item(place).setEnabled(bool(one["suits"]))
            form.algo.setItemData(place, one["note"] or None, Qt.ItemDataRole.ToolTipRole)
        self._mark_tuned(facts.get("presets", ()))

    def _mark_tuned(self, presets: Any) -> None:
        """Say beside an algorithm that it has a tuned setup for the environment on show, and from where."""
        algo, env = self._panel.side_form.algo, self._panel.side_form.pair[1]
        tuned = {one["algo"]: one["note"] for one in presets if one["env"] == env}
        for place, (name, title) in enumerate(ALGOS):
            algo.setItemText(place, f"{title}, tuned" if name in tuned else title)
            if name in tuned and algo.model().item(place).isEnabled():
                algo.setItemData(place, tuned[name], Qt.ItemDataRole.ToolTipRole)

    # changed setups ------------------------------------------------------------------------------------------------

    @Slot()
    def check_soon(self) -> None:
        """Something was changed: ask the worker whether it can run, when the typing has stopped."""
        self._checker.start()

    @Slot()
    def check(self) -> None:
        """Can this setup run, and in how much memory?"""
        try:
            run = self._panel.side_form.run()
            job = RlSetup(
                algo=run.algo, env=run.env, total_timesteps=run.total, n_envs=run.n_envs, hidden=run.hidden, settings=run.settings,
                backend=run.backend,
            )  # fmt: skip
        except UserError as error:
            self._panel.side_form.set_check(sentence(error))
            return
        self._panel.errands.run(job, self._checked, key="check", failed=self._unfit)

    def _checked(self, result: Result) -> None:
        form = self._panel.side_form
        form.set_check("")
        form.train.setEnabled(True)
        form.note.setToolTip(result.files["setup"].memory)

    def _unfit(self, report: Any) -> None:
        self._panel.side_form.set_check(sentence(report))

    # as text -------------------------------------------------------------------------------------------------------

    @Slot(str)
    def take_text(self, text: str) -> None:
        """A setup was typed or pasted."""
        try:
            run = parse_setup(text)
            self._panel.side_form.set_pair(run.algo, run.env)
        except UserError as error:
            self._panel.show_error(error)
            return
        self.ask(run)


def sentence(report: Any) -> str:
    """An error in one line."""
    words = getattr(report, "title", None) or str(report)
    return f"{words} {getattr(report, 'hint', '') or ''}".strip()
