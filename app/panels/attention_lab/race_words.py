"""What the inspector says about a training."""

from __future__ import annotations

from app.panels.attention_lab.page import Told
from app.panels.attention_lab.race import Race

LOOK = {
    "recall": "A key comes again and its value is asked for. Softmax finds the pair wherever it stands; a window forgets what lies too far "
    "back, and a linear attention must keep all pairs in a state of fixed size.",
    "copy": "A random pattern repeats with a period that differs from text to text. Whoever can find the earlier copy of the present token "
    "and look one further has it: watch the loss fall all at once when such an induction head appears.",
    "captions": "Sentences about pictures are short and regular, so that nearly every attention learns them. The difference is in the "
    "time an update takes.",
}  # fmt: skip
REFERENCES = {
    "recall": "associative recall: arXiv 2312.04927", "copy": "induction heads: arXiv 2209.11895", "captions": "captions of Playworld",
}  # fmt: skip
EQUATION = "loss = −mean ln p(token | tokens before)"


def told_of_race(race: Race, task: str) -> Told:
    """Scores of all learners."""
    task = race.job.task if race.job else task
    rows = []
    for learner in race.learners:
        score = race.score(learner.name)
        words = f"{score.accuracy:.1%}, loss {score.loss:.3f}" if score else "–"
        spent = f"{score.seconds / max(score.step, 1) * 1e3:.1f} ms an update" if score and score.step else ""
        rows.append((learner.name, f"{words}\n{spent}".strip(), f"{learner.title}, {learner.parameters:,} parameters"))
    ended = {"done": "Final scores", "cancelled": "Scores when it was stopped"}.get(race.ended, "Scores so far") if race.learners else ""
    step = next((race.score(learner.name).step for learner in race.learners if race.score(learner.name)), 0)
    head = [("On texts apart", f"{ended}, after update {step}")] if race.learners else []
    return Told(
        name="Side by side", rows=tuple([*head, *rows]), equation=EQUATION if race.learners else "", explanation=LOOK[task],
        reference=REFERENCES[task],
    )  # fmt: skip
