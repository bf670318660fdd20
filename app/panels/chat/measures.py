"""Measurements of a finished reply: plain decoding of the same text, the lossless stamp, the gamma curve, the logit lens.

With "Check every reply" the first two run by themselves when a drafted reply is done; the next question ends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from app.jobs.chat import GammaCurve, LogitLens, LosslessStamp, MeasurePlain
from app.panels.chat.reply import Reply
from app.panels.chat.runs import IDLE
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.chat.panel import ChatPanel

KINDS = (LosslessStamp, MeasurePlain, GammaCurve, LogitLens)
LAW = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
STAMP_KEPT = ("ok", "checked", "sentence", "mismatches", "mismatch_count", "near_tie")


class Measures(QObject):
    """Runs them and puts what they say into the facts of the reply."""

    def __init__(self, panel: ChatPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        side = panel.side
        for signal, slot in (
            (side.plain_wanted, self.plain), (side.stamp_wanted, self.stamp), (side.gamma_wanted, self.gamma),
            (side.lens_wanted, self.lens), (panel.runs.ended, self._on_ended),
        ):  # fmt: skip
            signal.connect(slot)

    def forget(self) -> None:
        """Something else has to be done first."""
        for kind in KINDS:
            self._panel.errands.forget(kind)

    @Slot(object, str, object)
    def _on_ended(self, reply: Reply, how: str, _what: Any) -> None:
        panel = self._panel
        if how != "done" or panel.runs.active or not panel.side_form.check.isChecked():
            return
        for each in dict.fromkeys([reply, *panel.messages.replies_beside(reply)]):
            if each.rounds and each.counters.get("num_draft_tokens") and "plain_tokens_per_s" not in each.facts:
                self._stamp(each)
                self._plain(each)

    # what can be asked for -----------------------------------------------------------------------------------------

    @Slot()
    def plain(self) -> None:
        """Measure plain decoding of the reply in focus."""
        self._with_focus(self._plain)

    @Slot()
    def stamp(self) -> None:
        """Check every token of the reply in focus."""
        self._with_focus(self._stamp)

    @Slot()
    def gamma(self) -> None:
        """What every draft length would have given on the reply in focus."""
        self._with_focus(self._gamma)

    @Slot()
    def lens(self) -> None:
        """What every layer would have said at the place looked at."""
        reply, token = self._panel.looked_at
        if reply is None or not reply.prompt_ids or not 0 <= token < reply.tokens:
            return
        ids = (*reply.given_ids, *reply.ids)
        job = LogitLens(ids=ids[: len(reply.given_ids) + token + 1], position=len(reply.given_ids) + token - 1, model=self._model(reply))
        self._panel.errands.run(job, lambda result: self._take_layers(reply, token, result), key="lens")

    def _with_focus(self, do: Any) -> None:
        reply = self._panel.player.reply
        if reply is not None and self._panel.runs.state_of(reply) == IDLE:
            self._panel.messages.with_rounds(reply, lambda: do(reply) if reply.rounds and reply.prompt_ids else None)

    # jobs ----------------------------------------------------------------------------------------------------------

    def _model(self, reply: Reply) -> str:
        return reply.facts.get("job", {}).get("model", "smollm2")

    def _law(self, reply: Reply) -> dict[str, Any]:
        own = reply.facts.get("job", {})
        return {name: own[name] for name in LAW if name in own}

    def _plain(self, reply: Reply) -> None:
        job = MeasurePlain(prompt_ids=reply.given_ids, reply_ids=reply.ids, model=self._model(reply), **self._law(reply))
        self._panel.errands.run(job, lambda result: self._take_plain(reply, result), progress=self._panel.tell_progress)

    def _stamp(self, reply: Reply) -> None:
        own = reply.facts.get("job", {})
        if own.get("temperature"):
            return  # a drawn text is not meant to be the first choice everywhere
        penalty = own.get("repetition_penalty", 1.0)
        job = LosslessStamp(prompt_ids=reply.given_ids, reply_ids=reply.ids, model=self._model(reply), repetition_penalty=penalty)
        self._panel.errands.run(job, lambda result: self._take_stamp(reply, result), progress=self._panel.tell_progress)

    def _gamma(self, reply: Reply) -> None:
        kind = reply.drafter if reply.drafter not in ("none", "auto") else "lookup"
        rounds, law = reply.counters.get("rounds", 0), self._law(reply)
        job = GammaCurve(
            prompt_ids=reply.given_ids, reply_ids=reply.ids, model=self._model(reply), drafter=kind,
            temperature=law.get("temperature", 0.0), other_s=reply.counters.get("other_s", 0.0) / rounds if rounds else 0.0,
        )  # fmt: skip
        self._panel.errands.run(job, lambda result: self._take_gamma(reply, result), progress=self._panel.tell_progress)

    def _take_plain(self, reply: Reply, result: Result) -> None:
        reply.facts["plain_tokens_per_s"] = result.facts["tokens_per_s"]
        self._panel.facts_changed(reply)

    def _take_stamp(self, reply: Reply, result: Result) -> None:
        reply.facts["stamp"] = {name: result.facts[name] for name in STAMP_KEPT if name in result.facts}
        self._panel.facts_changed(reply)

    def _take_gamma(self, reply: Reply, result: Result) -> None:
        reply.gamma = result.files["report"]
        self._panel.facts_changed(reply)

    def _take_layers(self, reply: Reply, token: int, result: Result) -> None:
        if self._panel.looked_at == (reply, token):
            self._panel.side.token.set_layers(result.files["rows"])
