"""Which signal of the panel's parts calls what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel


def wires(panel: RlPanel) -> tuple[tuple[Any, Any], ...]:
    """(signal, slot)."""
    form, stage, do, trainings, look = panel.side_form, panel.stage, panel.commands, panel.trainings, panel.looking
    runs, bar, drawing, wish = stage.runs, panel.timeline.transport, panel.drawing, panel.wishes
    return (
        (form.train_wanted, do.train), (form.step_wanted, do.step), (form.pair_changed, panel.setups.ask),
        (form.tuned, do.turn), (form.text_wanted, panel.setups.take_text), (form.changed, panel.setups.check_soon),
        (form.changed, panel.touch), (form.invalid, panel.tell),
        (bar.first, look.first), (bar.previous, look.previous), (bar.next, do.next), (bar.last, look.last), (bar.play, do.play),
        (bar.pause, do.pause), (bar.stop, do.stop),
        (trainings.told, drawing.heard), (trainings.shown_changed, drawing.other_shown), (trainings.listed, drawing.listed),
        (look.moved, drawing.moved), (look.plane, drawing.plane), (look.busy, panel.timeline.set_busy),
        (look.player.changed, drawing.place), (look.player.frame, drawing.film_frame),
        (stage.curves.looked, look.look), (stage.curves.changed, drawing.curves), (stage.curves.changed, panel.touch),
        (stage.small.pointed, stage.curves.plot.set_cross), (stage.small.pointed, stage.small.set_cross),
        (stage.curves.plot.pointed, stage.small.set_cross), (stage.curves.plot.save_requested, wish.save_plot),
        (stage.small.save_requested, wish.save_plot), (stage.small.explained, drawing.explain),
        (stage.lamps.chosen, drawing.explain), (stage.page_changed, drawing.page),
        (stage.agent.bar.seed_changed, look.set_seed), (stage.agent.bar.newest_wanted, look.follow),
        (stage.compare.compare_wanted, wish.compare), (runs.drawn_changed, trainings.set_visible),
        (runs.show_wanted, wish.show), (runs.resume_wanted, wish.resume), (runs.export_wanted, wish.export),
        (runs.reuse_wanted, wish.reuse), (runs.delete_wanted, wish.delete), (runs.open_wanted, wish.open),
        (panel.errands.failed, panel.show_error),
    )  # fmt: skip
