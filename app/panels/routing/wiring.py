"""Which signal of the panel's parts calls what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel


def wires(panel: RoutingPanel) -> tuple[tuple[Any, Any], ...]:
    """(signal, slot) of form, pages, runs and trainings."""
    form, stage, do, runs, trainings = panel.side_form, panel.stage, panel.commands, panel.runs, panel.trainings
    training, models, look = stage.training, panel.models, panel.looking
    return (
        (form.read_wanted, do.read), (form.step_wanted, do.step), (form.gates.compare_wanted, do.before_and_after),
        (form.model_changed, models.other_model), (form.folder_wanted, models.open_folder), (form.changed, panel.touch),
        (form.invalid, panel.tell), (stage.welcome.train_wanted, models.train_built_in), (stage.welcome.folder_wanted, models.open_folder),
        (stage.page_changed, panel.on_page), (stage.text.selected, look.token), (stage.load.expert_chosen, look.expert),
        (stage.load.switch_wanted, look.switch), (stage.bias.token_chosen, look.cell), (stage.work.token_chosen, look.cell),
        (stage.bias.removal_wanted, do.without_bias),
        (stage.flow.expert_chosen, look.expert), (stage.specialists.measure_wanted, do.specialise),
        (stage.pair.compare_wanted, do.pair), (training.side.train_wanted, models.train),
        (training.side.side_by_side_wanted, models.side_by_side),
        (training.side.stop_wanted, trainings.stop), (training.look_wanted, models.look_at), (training.side.tuned, models.tune),
        (training.side.tuned, panel.touch), (panel.side.row_chosen, look.set_row), (panel.errands.failed, panel.show_error),
        (runs.began, panel.on_began), (runs.grew, panel.on_grew), (runs.summed, panel.on_summed), (runs.moved, look.moved),
        (runs.state_changed, panel.show_position), (runs.state_changed, look.settle),
        (runs.busy, panel.timeline.set_busy), (runs.ended, panel.on_ended),
        (trainings.changed, training.show_run), (trainings.ended, models.trained), (trainings.failed, panel.show_error),
    )  # fmt: skip
