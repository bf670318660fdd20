"""The chat panel against canned events: no worker, no model; what is submitted, what is shown, what is kept, and the wrong ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QPushButton, QStyle, QStyleOptionComboBox

from app.jobs.attention import AttentionOverview
from app.jobs.chat import (
    Chat,
    ChatStatus,
    ChooseDrafter,
    GammaCurve,
    LoadLanguageModel,
    LogitLens,
    LosslessStamp,
    MeasurePlain,
    RawTemplate,
)
from app.jobs.models import FetchModel, ImportModel, ListModels
from app.panels.chat.panel import ChatPanel
from app.protocol.chat import ForcedToken
from app.protocol.errors import ErrorReport
from app.protocol.events import Progress
from app.protocol.payloads import Result
from tests.app.chat_fakes import PROMPT_IDS, REPLY, ChatEngine, counters_of, rounds_of


def build(qtbot, settings, engine=None) -> ChatPanel:
    made = ChatPanel(engine or ChatEngine(), settings)
    qtbot.addWidget(made, before_close_func=ChatPanel.about_to_close)
    made.restore()
    made.resize(1200, 730)
    with qtbot.waitSignal(made.library.opened):
        made.show()
        made.ready()
    made.engine.answer_all()
    return made


@pytest.fixture
def panel(qtbot, settings):
    made = build(qtbot, settings)
    made.side_form.check.setChecked(False)
    return made


def say(panel, text: str = "What is a fox?"):
    """Send something; returns the handle of its run."""
    panel.commands.send(text)
    return panel.engine.chats()[-1]


def texts(panel) -> list[str]:
    return [message.text for message in panel.conversation.path()]


def card(panel, place: int = -1, beside: bool = False):
    return (panel.stage.beside if beside else panel.stage.main).cards()[place]


# --- sending and streaming ------------------------------------------------------------------------------------


def test_makes_its_default_job_and_asks_what_is_here(panel):
    assert panel.side_form.job() == Chat()
    assert panel.engine.count(ChatStatus) and panel.engine.count(LoadLanguageModel) == 1 and panel.engine.count(ListModels)
    assert not panel.stage.welcome.isHidden() and panel.stage.welcome.words() == ""


def test_an_example_is_sent_by_its_button(panel):
    panel.stage.welcome.examples[0].click()
    job = panel.engine.chats()[-1].job
    assert job.messages[-1].text.startswith("Why is the sky blue") and job.measure is False
    assert panel.stage.welcome.isHidden() and panel.runs.active


def test_a_reply_streams_into_its_card_and_its_tokens(panel, qtbot):
    handle = say(panel)
    rounds = rounds_of()
    handle.begin()
    handle.tell_prompt()
    for round_ in rounds[:6]:
        handle.tell_round(round_)
    panel.messages.flush()
    panel.following.grew()
    so_far = "".join(round_.text for round_ in rounds[:6])
    assert card(panel).text() == so_far and card(panel).tokens.text().replace("|", "") == so_far.replace("\n", "↵")
    assert panel.timeline.transport.text().startswith("round 6 of 6") and panel.timeline.transport.state == "running"
    assert len(panel.timeline.strip._rounds) == 6
    for round_ in rounds[6:]:
        handle.tell_round(round_)
    handle.tell_counters(rounds)
    handle.finish(rounds)
    assert texts(panel) == ["What is a fox?", REPLY] and not panel.runs.active
    assert "tok/s" in card(panel).look.footer and "draft tokens accepted" in card(panel).look.footer
    assert panel.stage.composer.text() == "" and "fox is a small animal" in card(panel).body.toPlainText()


def test_the_attention_of_a_reply_is_asked_for_with_its_exact_tokens(panel, qtbot):
    """At once when the button is pressed, then while it grows, and once more at its end; no other reply after that."""
    handed, told, rounds = [], [], rounds_of()
    panel.handed.connect(lambda *what: handed.append(what))
    panel.told.connect(lambda *what: told.append(what))
    handle = say(panel)
    handle.begin()
    handle.tell_prompt()
    panel.messages.flush()
    card(panel)._buttons["attention"].click()
    assert handed == [] and "nothing to look at yet" in panel.banner.text()
    handle.tell_round(rounds[0])
    card(panel)._buttons["attention"].click()
    first = tuple(token.id for token in rounds[0].tokens)
    assert handed == [("attention", AttentionOverview(model="smollm2", ids=(*PROMPT_IDS, *first), text=rounds[0].text, growing=True))]
    for round_ in rounds[1:]:
        handle.tell_round(round_)
    assert told == [], "not round by round"
    whole = (*PROMPT_IDS, *(token.id for round_ in rounds for token in round_.tokens))
    qtbot.waitUntil(lambda: len(told) == 1)
    assert told[0][1].ids == whole and told[0][1].growing
    handle.tell_counters(rounds)
    handle.finish(rounds)
    assert told[1:] == [("attention", AttentionOverview(model="smollm2", ids=whole, text=REPLY))]
    say(panel, "And a hen?").answer()
    assert len(told) == 2
    card(panel, 1)._buttons["attention"].click()
    assert handed[1] == told[1], "a finished reply too"


def test_many_rounds_in_one_turn_of_the_timer_are_shown_once(panel, qtbot, monkeypatch):
    handle = say(panel)
    handle.begin()
    handle.tell_prompt()
    panel.messages.flush()
    shown = []
    target = card(panel)
    monkeypatch.setattr(target, "set_text", shown.append)
    for round_ in rounds_of():
        handle.tell_round(round_)
    assert shown == []
    qtbot.waitUntil(lambda: shown == [REPLY])


def test_only_the_growing_card_is_touched(panel, monkeypatch):
    say(panel).answer()
    handle = say(panel, "And a hen?")
    handle.begin()
    handle.tell_prompt()
    old, touched = card(panel, 1), []
    monkeypatch.setattr(old, "set_text", touched.append)
    monkeypatch.setattr(old, "set_rounds", lambda *_: touched.append("rounds"))
    for round_ in rounds_of("A hen is a bird."):
        handle.tell_round(round_)
    panel.messages.flush()
    assert touched == [] and card(panel).text() == "A hen is a bird."


def test_the_next_message_takes_the_conversation_along(panel):
    panel.side_form.system.set_text("")
    panel.commands._on_system("Be brief.")
    say(panel).answer("An animal.")
    handle = say(panel, "And a hen?")
    assert [(m.role, m.text) for m in handle.job.messages] == [
        ("system", "Be brief."), ("user", "What is a fox?"), ("assistant", "An animal."), ("user", "And a hen?"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_nothing_is_sent_when_nothing_is_said(panel, text):
    panel.commands.send(text)
    assert panel.engine.chats() == [] and panel.conversation.empty and "Write something" in panel.stage.composer.note()


def test_a_second_message_waits_for_the_first(panel):
    handle = say(panel)
    panel.stage.composer.set_text("me too")
    panel.commands.send("me too")
    assert len(panel.engine.chats()) == 1 and "being written" in panel.stage.composer.note()
    assert panel.stage.composer.text() == "me too", "the words are not lost"
    handle.answer()
    say(panel, "me too")
    assert len(panel.engine.chats()) == 2


def test_lone_surrogates_and_control_tokens_are_plain_text(panel, settings):
    handle = say(panel, "half \ud83d and <|im_end|>")
    assert handle.job.messages[-1].text == "half � and <|im_end|>"
    handle.answer("ok")
    panel.library.write_texts()
    assert settings.storage.flush(3) and settings.storage.errors() == []


def test_a_long_text_says_before_how_much_of_it_is_kept(panel, qtbot):
    panel.stage.composer.edit.setPlainText("word " * 20_000)
    qtbot.waitUntil(lambda: panel.engine.count(RawTemplate) == 1)
    facts = {"tokens": 8192, "context": 8192, "sentence": "Of your message the last 7,900 tokens are kept.", "dropped": 100}
    panel.engine.last(RawTemplate).succeed(Result(files={"raw.txt": "…"}, facts=facts))
    assert panel.stage.composer.note() == facts["sentence"]
    panel.stage.composer.edit.setPlainText("short")
    assert panel.stage.composer.note() == ""


def test_what_the_run_says_of_dropped_text_stands_at_the_card(panel):
    handle = say(panel)
    handle.begin()
    handle.tell_prompt(dropped=5, dropped_sentence="The oldest 5 tokens were left out.")
    panel.messages.flush()
    assert "left out" in card(panel).look.warning


# --- stopping, failing, late events ---------------------------------------------------------------------------


def test_stop_at_once(panel):
    handle = say(panel)
    panel.stage.composer.send.click()
    assert handle.asked == ["cancel"] and not panel.runs.active and card(panel).look.footer == "stopped"
    assert panel.stage.composer.send.text() == "Send"
    handle = say(panel, "Again")
    assert [m.text for m in handle.job.messages] == ["What is a fox?", "Again"], "an answer without words is not told"


def test_stop_keeps_what_was_written_and_late_events_go_nowhere(panel):
    handle, rounds = say(panel), rounds_of()
    handle.begin()
    handle.tell_prompt()
    for round_ in rounds[:4]:
        handle.tell_round(round_)
    QTest.keyClick(panel.stage.composer.edit, Qt.Key.Key_Escape)
    written = "".join(round_.text for round_ in rounds[:4])
    assert texts(panel)[-1] == written
    for round_ in rounds[4:]:
        handle.tell_round(round_)
    handle.tell_counters(rounds)
    handle.done.emit(Result(facts={"reason": "stop"}))
    handle.failed.emit(ErrorReport(kind="bug", title="late"))
    panel.messages.flush()
    assert texts(panel)[-1] == written and card(panel).text() == written and panel.banner.text() == ""
    assert card(panel).look.footer.endswith("stopped")
    assert f"{sum(len(round_.tokens) for round_ in rounds[:4])} tokens" in card(panel).look.footer


def test_a_failure_is_told_and_the_conversation_is_kept(panel):
    handle, rounds = say(panel), rounds_of()
    handle.begin()
    handle.tell_prompt()
    handle.tell_round(rounds[0])
    handle.fail("It broke.", "Mend it.")
    assert panel.banner.text() == "It broke." and texts(panel) == ["What is a fox?", rounds[0].text]
    panel.banner._action.click()
    again = panel.engine.chats()[-1]
    assert again is not handle and [m.text for m in again.job.messages] == ["What is a fox?"]
    assert panel.conversation.branch_of(panel.conversation.path()[-1].id) == (2, 2)


def test_closing_while_a_reply_streams_keeps_it(qtbot, settings):
    first = build(qtbot, settings)
    handle, rounds = say(first), rounds_of()
    handle.begin()
    handle.tell_prompt()
    for round_ in rounds[:5]:
        handle.tell_round(round_)
    first.about_to_close()
    handle.tell_round(rounds[5])
    settings.flush()
    second = build(qtbot, settings)
    assert texts(second) == ["What is a fox?", "".join(round_.text for round_ in rounds[:5])]
    qtbot.waitUntil(lambda: len(second.timeline.strip._rounds) == 5)
    assert card(second).look.footer.endswith("stopped")


def test_two_windows_worth_of_noise_does_no_harm(panel):
    """Records of unknown channels and progress before the first round."""
    handle = say(panel)
    handle.begin()
    handle.loading.emit("smollm2", 10, 100)
    handle.progress.emit(Progress(done=1, total=2, note="reading the prompt"))
    assert panel.timeline._busy.text() == "Reading the prompt"
    handle.record.emit("nonsense", object())
    handle.record.emit("round", "not a round")
    handle.answer()
    assert texts(panel)[-1] == REPLY and panel.timeline._busy.text() == ""


# --- branches -------------------------------------------------------------------------------------------------


def test_regenerate_edit_and_the_switcher(panel):
    say(panel).answer("One.")
    card(panel)._buttons["renew"].click()
    panel.engine.chats()[-1].answer("Two.")
    assert texts(panel)[-1] == "Two." and card(panel).look.branches == 2
    card(panel)._back.click()
    assert texts(panel)[-1] == "One." and card(panel).look.branch == 1
    card(panel, 0).begin_edit()
    card(panel, 0)._editor.set_text("What is a wolf?")
    card(panel, 0)._on_send()
    panel.engine.chats()[-1].answer("Large.")
    assert texts(panel) == ["What is a wolf?", "Large."] and card(panel, 0).look.branches == 2
    card(panel, 0)._back.click()
    assert texts(panel) == ["What is a fox?", "One."], "the old branch is all there"


def test_an_edit_to_nothing_sends_nothing(panel):
    say(panel).answer("One.")
    panel.messages.edited.emit(panel.conversation.path()[0].id, "  ")
    assert len(panel.engine.chats()) == 1 and "not sent" in panel.banner.text()


def test_switching_the_branch_while_a_reply_streams(panel):
    say(panel).answer("One.")
    card(panel)._buttons["renew"].click()
    handle, rounds = panel.engine.chats()[-1], rounds_of("Two and a half.")
    handle.begin()
    handle.tell_prompt()
    handle.tell_round(rounds[0])
    card(panel)._back.click()
    assert texts(panel)[-1] == "One." and panel.runs.active
    for round_ in rounds[1:]:
        handle.tell_round(round_)
    handle.finish(rounds)
    assert texts(panel)[-1] == "One.", "who reads the other branch stays there"
    card(panel)._forth.click()
    assert texts(panel)[-1] == "Two and a half."


def test_another_conversation_while_a_reply_streams(panel):
    handle, rounds = say(panel), rounds_of()
    first = panel.conversation.id
    handle.begin()
    handle.tell_prompt()
    panel.new_conversation()
    for round_ in rounds:
        handle.tell_round(round_)
    handle.finish(rounds)
    panel.messages.flush()
    assert panel.conversation.empty and panel.stage.main.cards() == []
    panel.open_conversation(first)
    assert texts(panel)[-1] == REPLY


def test_a_ghost_continues_in_a_second_column(panel):
    rounds = say(panel).answer()
    reply = panel.player.reply
    index, place = next((n, k) for n, r in enumerate(rounds) for k, d in enumerate(r.drafted) if d.fate == "rejected" and n > 3)
    panel.messages.ghost_clicked.emit(reply, index, place)
    handle = panel.engine.chats()[-1]
    draft = rounds[index].drafted[place]
    assert handle.job.continue_ids[-1] == draft.id and handle.job.continue_ids[:-1] == reply.ids[: len(handle.job.continue_ids) - 1]
    assert panel.stage.beside_shown and "What if" in panel.stage._beside_title.text()
    given = (ForcedToken(id=1, text="A", piece="A"), ForcedToken(id=draft.id, text=draft.text, piece=draft.text))
    handle.begin()
    handle.tell_prompt(beginning=given)
    more = rounds_of(" and so on")
    for round_ in more:
        handle.tell_round(round_)
    handle.finish(more)
    assert card(panel, beside=True).text() == f"A{draft.text} and so on"
    assert texts(panel)[-1] == REPLY, "the first column stays"
    panel.stage.beside_kept.emit()
    assert texts(panel)[-1] == f"A{draft.text} and so on" and not panel.stage.beside_shown


def test_an_alternative_continues_and_the_second_column_can_be_closed(panel):
    say(panel).answer()
    reply = panel.player.reply
    panel.looking.choose(reply, 5)
    bar = next(bar for bar in panel.side.token.alternatives.bars() if bar.key is not None)
    panel.side.token.alternatives.pressed.emit(bar.key)
    handle = panel.engine.chats()[-1]
    assert handle.job.continue_ids == (*reply.ids[:5], bar.key)
    panel.branching.close_beside()
    assert handle.asked == ["cancel"] and not panel.stage.beside_shown and panel.player.reply is reply
    assert panel.conversation.branch_of(reply.message) == (1, 2), "its answer stays as a branch"


def test_two_drafters_side_by_side(panel):
    panel.side_form.twice.setChecked(True)
    panel.side_form._other_drafter.setCurrentIndex(panel.side_form._other_drafter.findData("none"))
    say(panel)
    one, two = panel.engine.chats()
    assert (one.job.drafter, two.job.drafter) == ("auto", "none") and one.job.messages == two.job.messages
    assert one.key == two.key, "they run one after the other"
    one.answer("The same.")
    two.answer("The same.")
    assert panel.stage.beside_shown and card(panel, beside=True).text() == "The same." and card(panel).text() == "The same."
    assert "plain" in panel.stage._beside_title.text()
    handle = say(panel, "More")
    assert [m.text for m in handle.job.messages] == ["What is a fox?", "The same.", "More"]


def test_both_columns_are_checked_when_both_are_done(panel):
    panel.side_form.check.setChecked(True)
    panel.side_form.twice.setChecked(True)
    panel.side_form._other_drafter.setCurrentIndex(panel.side_form._other_drafter.findData("none"))
    say(panel)
    one, two = panel.engine.chats()
    one.answer()
    assert panel.engine.count(MeasurePlain) == 0, "the second would be slowed down"
    two.begin()
    two.tell_prompt()
    assert panel.player.reply.message == panel.conversation.beside, "the eye goes where something moves"
    two.answer()
    assert panel.engine.count(MeasurePlain) == 1 and panel.engine.last(MeasurePlain).job.reply_ids == panel.messages.reply(2).ids


def test_stop_ends_both_columns(panel):
    panel.side_form.twice.setChecked(True)
    say(panel)
    panel.stage.composer.send.click()
    assert all(handle.asked == ["cancel"] for handle in panel.engine.chats()) and not panel.runs.active


# --- rounds: stepping, replay, slow motion --------------------------------------------------------------------


def test_step_by_step(panel):
    panel.stage.composer.set_text("What is a fox?")
    panel.stage.composer.step.click()
    handle, rounds = panel.engine.chats()[-1], rounds_of()
    assert handle.park_after == 1
    handle.begin()
    handle.tell_prompt()
    handle.tell_round(rounds[0])
    handle.park(1)
    panel.following.grew()
    bar = panel.timeline.transport
    assert bar.state == "paused" and bar.text().startswith("round 1 of 1")
    bar.button("next").click()
    assert handle.asked == ["step"]
    handle.go_on()
    handle.tell_round(rounds[1])
    handle.park(2)
    bar.button("previous").click()
    assert panel.player.reply.position == 1 and panel.side.token.inspector.text().startswith("Round 1 of 2")
    bar.button("next").click()
    assert panel.player.reply.position == 2 and handle.asked == ["step"]
    bar.button("play").click()
    assert handle.asked == ["step", "resume"]


def test_pause_and_resume_a_reply(panel):
    handle, rounds = say(panel), rounds_of()
    handle.begin()
    handle.tell_prompt()
    handle.tell_round(rounds[0])
    panel.messages.flush()
    panel.timeline.transport.button("play").click()
    assert handle.asked == ["pause"]
    handle.park(1)
    assert panel.timeline.transport.state == "paused"
    panel.timeline.transport.button("play").click()
    assert handle.asked == ["pause", "resume"]


def test_a_finished_reply_is_replayed(panel, qtbot):
    rounds = say(panel).answer("A short one of a few words.")
    panel.player.play()
    assert panel.player.replaying and panel.player.reply.position == 1 and card(panel).tokens._shown == 1
    assert panel.timeline.transport.state == "running"
    qtbot.waitUntil(lambda: not panel.player.replaying, timeout=5000)
    assert panel.player.reply.position == len(rounds) and card(panel).tokens._shown is None
    panel.player.play()
    panel.player.stop()
    assert not panel.player.replaying and not panel.runs.active


def test_slow_motion_lets_a_live_reply_stand_still_between_rounds(panel, qtbot):
    panel.timeline._speed.setCurrentIndex(3)
    panel.timeline._on_speed(3)
    handle, rounds = say(panel), rounds_of()
    assert handle.park_after == 1
    handle.begin()
    handle.tell_prompt()
    handle.tell_round(rounds[0])
    handle.park(1)
    assert panel.timeline.transport.state == "running", "nobody asked it to stand still"
    qtbot.waitUntil(lambda: handle.asked == ["step"], timeout=3000)
    panel.player.pause()
    handle.go_on()
    handle.tell_round(rounds[1])
    handle.park(2)
    assert panel.timeline.transport.state == "paused"
    panel.player.set_speed(1.0)
    panel.player.play()
    assert handle.asked[-1] == "resume"


def test_hovering_is_linked_both_ways_and_a_click_shows_the_round(panel):
    say(panel).answer()
    view = card(panel).tokens
    panel.messages.round_hovered.emit(panel.player.reply, 3)
    assert panel.timeline.strip._lit == 3
    panel.timeline.strip.hovered.emit(4)
    assert view._lit == 4
    panel.timeline.strip.hovered.emit(-1)
    panel.timeline.strip._choose(2)
    assert panel.player.reply.position == 3 and view._lit == 2
    assert panel.side.token.inspector.text().startswith("Round 3")


def test_the_draft_of_a_round_is_drawn_on_demand(panel):
    say(panel)
    panel.engine.chats()[-1].answer()
    assert panel.timeline._scroll.isHidden()
    panel.timeline.set_draft_shown(True)
    with_draft = next(n for n, round_ in enumerate(panel.player.reply.rounds) if round_.drafted)
    panel.player.look(with_draft + 1)
    assert not panel.timeline._scroll.isHidden() and panel.timeline.tree.nodes()
    place = next((n for n, node in enumerate(panel.timeline.tree.nodes()) if node.fate == "rejected"), None)
    if place is not None:
        panel.timeline.tree.node_clicked.emit(panel.timeline.tree.nodes()[place].place)
        assert panel.stage.beside_shown


def test_a_token_tells_all_about_itself(panel):
    say(panel).answer()
    view = card(panel).tokens
    made = view.layout_
    at = QPoint(int(made.chips[3].x) + 2, int(made.lines[made.line_of(3)].y) + 14)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)
    words = panel.side.token.inspector.text()
    assert "Token: 4 of" in words and panel.side.token.alternatives.bars() and view.current == 3
    assert panel.player.reply.position == panel.player.reply.at(3)[0].index + 1
    panel.player.next()
    assert view.current == -1 and panel.side.token.inspector.text().startswith("Round")


# --- measurements ---------------------------------------------------------------------------------------------


def test_every_reply_is_checked_by_itself_when_wanted(panel):
    panel.side_form.check.setChecked(True)
    say(panel).answer()
    assert panel.engine.count(MeasurePlain) == panel.engine.count(LosslessStamp) == 1
    job = panel.engine.last(MeasurePlain).job
    assert job.prompt_ids == PROMPT_IDS and job.reply_ids == panel.player.reply.ids
    panel.engine.answer_all()
    panel.messages.flush()
    speed = counters_of(panel.player.reply.rounds)["tokens_per_s"]
    assert f"{speed / 40:.2f}x measured · lossless" in card(panel).look.footer
    assert "Speed-up" in panel.side.reply.summary.text() and not panel.side.reply.plain.isVisibleTo(panel.side.reply)


def test_the_next_question_ends_the_measurements(panel):
    panel.side_form.check.setChecked(True)
    say(panel).answer()
    measuring = panel.engine.last(MeasurePlain)
    say(panel, "Next")
    assert measuring.asked == ["cancel"]


def test_a_drawn_reply_gets_no_stamp(panel):
    panel.side_form.check.setChecked(True)
    panel.side_form.form.set_value("temperature", 0.8)
    say(panel).answer()
    assert panel.engine.count(MeasurePlain) == 1 and panel.engine.count(LosslessStamp) == 0
    assert panel.engine.last(MeasurePlain).job.temperature == 0.8
    assert "temperature 0.8" in card(panel).look.note


def test_a_plain_reply_is_not_measured_against_itself(panel):
    panel.side_form.check.setChecked(True)
    panel.side_form.form.set_value("drafter", "none")
    say(panel).answer()
    assert panel.engine.count(MeasurePlain) == 0 and "accepted" not in card(panel).look.footer


def test_mismatches_of_the_stamp_are_listed_with_their_gap(panel):
    say(panel).answer()
    panel.side.stamp_wanted.emit()
    facts = {
        "ok": False, "checked": 78, "sentence": "1 of 78 tokens is not the first choice.",
        "mismatches": [{"position": 12, "id": 5, "text": " red", "best_id": 6, "best_text": " blue", "gap": 0.0123}],
    }  # fmt: skip
    panel.engine.last(LosslessStamp).succeed(Result(facts=facts))
    panel.side.setCurrentWidget(panel.side.reply)
    panel.side.reply._tell()
    assert "“ red” at 12" in panel.side.reply._stamp.text() and "0.0123" in panel.side.reply._stamp.text()


def test_the_gamma_curve_and_the_logit_lens(panel):
    say(panel).answer()
    panel.side.setCurrentWidget(panel.side.reply)
    panel.side.gamma_wanted.emit()
    job, counters = panel.engine.last(GammaCurve).job, panel.player.reply.counters
    assert job.drafter == "lookup" and job.other_s == pytest.approx(counters["other_s"] / counters["rounds"]) and job.other_s > 0
    panel.engine.answer_all()
    view = panel.side.reply.lengths
    assert view.curve.cursor_at() == 3 and set(view.curve.curves()) == {"speed", "plain"} and "length 3" in view.best.text()
    assert list(view.curve.curves()["speed"].x) == [0, 1, 2, 3, 4, 5] and view.even.bars()[0].mark is not None
    line = view.line.curves()
    assert list(line["need"].y) == pytest.approx([0.15, 0.2, 0.25, 0.3, 0.35]) and set(line["have"].y) == {0.61}
    assert not view.curve._legend.isVisible(), "the colours are named beside the curves, not over them"
    panel.looking.choose(panel.player.reply, 4)
    panel.side.token.lens.click()
    job = panel.engine.last(LogitLens).job
    assert job.ids == (*PROMPT_IDS, *panel.player.reply.ids[:5]) and job.position == len(PROMPT_IDS) + 3
    panel.engine.answer_all()
    assert len(panel.side.token.layers.bars()) == 31 and panel.side.token.layers.bars()[0].label.startswith("30")
    panel.looking.choose(panel.player.reply, 5)
    assert panel.side.token.layers.bars() == []


def test_live_figures_while_a_reply_is_written(panel, qtbot):
    panel.side.setCurrentWidget(panel.side.reply)
    handle, rounds = say(panel), rounds_of()
    handle.begin()
    handle.tell_prompt()
    for round_ in rounds[:9]:
        handle.tell_round(round_)
    handle.tell_counters(rounds[:9])
    qtbot.waitUntil(lambda: "in 9 rounds" in panel.side.reply.summary.text())
    assert len(panel.side.reply.depths.bars()) == 3 and len(panel.side.reply.times.bars()) == 3


# --- settings -------------------------------------------------------------------------------------------------


def test_live_knobs_reach_the_running_reply(panel):
    handle = say(panel)
    handle.begin()
    panel.side_form.form.editor("temperature").setValue(0.7)
    panel.side_form.form.editor("draft_length").setValue(5)
    assert handle.job.temperature == 0.7 and handle.job.draft_length == 5 and handle.asked == ["tune", "tune"]


def test_another_drafter_goes_on_in_the_middle_of_a_reply(panel):
    handle, rounds = say(panel), rounds_of()
    handle.begin()
    handle.tell_prompt()
    for round_ in rounds[:5]:
        handle.tell_round(round_)
    handle.tell_counters(rounds[:5])
    box = panel.side_form.form.editor("drafter")
    box.setCurrentIndex(box.findText("Plain"))
    other, reply = panel.engine.chats()[-1], panel.player.reply
    assert (
        handle.asked[-1] == "cancel"
        and other is not handle
        and panel.runs.active
        and not panel.conversation.path()[-1].facts["state"] == "stopped"
    )
    assert other.job.drafter == "none" and other.job.continue_ids == reply.ids and other.job.messages == handle.job.messages
    handle.tell_round(rounds[5])
    more = rounds_of(" and more", drafter="none")
    other.begin()
    other.tell_prompt(beginning=tuple(ForcedToken(id=n, text="x", piece="x") for n in reply.ids))
    for round_ in more:
        other.tell_round(round_)
    other.tell_counters(more)
    other.finish(more)
    written = "".join(round_.text for round_ in rounds[:5])
    assert texts(panel)[-1] == f"{written} and more" and [round_.index for round_ in reply.rounds] == list(range(5 + len(more)))
    both = counters_of([*rounds[:5], *more])
    for name in ("rounds", "new_tokens", "num_accepted_draft_tokens", "draft_acceptance_rate", "tokens_per_s", "mean_acceptance_length"):
        assert reply.counters[name] == pytest.approx(both[name]), name
    assert len(panel.engine.chats()) == 2 and not panel.runs.active


def test_drafters_that_cannot_run_are_disabled_and_say_why(panel):
    box: QComboBox = panel.side_form.form.editor("drafter")
    names = [box.itemText(row) for row in range(box.count())]
    row = next(n for n, name in enumerate(names) if name.startswith("EAGLE"))
    item = box.model().item(row)
    assert not item.isEnabled() and "not here" in names[row] and "weights" in item.toolTip()
    panel.side_form.form.set_value("drafter", "lookup")
    panel.side_form._tell_why()
    assert "earlier" in panel.side_form.why()


def test_drafters_are_measured_once_when_they_never_were(qtbot, settings):
    engine = ChatEngine()
    engine.status_facts["measured"] = False
    panel = build(qtbot, settings, engine)
    for _turn in range(3):
        engine.answer_all()
    assert engine.count(ChooseDrafter) == 1 and engine.count(ChatStatus) >= 2
    assert panel.gate.missing == ""


def test_measuring_drafters_stands_still_while_an_answer_is_written(qtbot, settings):
    engine = ChatEngine()
    engine.status_facts["measured"] = False
    panel = build(qtbot, settings, engine)
    while not engine.count(ChooseDrafter):
        engine.answer_all()
    measuring = engine.last(ChooseDrafter)
    if not measuring.active:
        pytest.fail("it has been answered already")
    answer = say(panel)
    assert measuring.asked[-1] == "pause"
    answer.end("cancelled", answer.cancelled)
    assert measuring.asked[-1] == "resume"
    engine.answer_all()
    asked = list(measuring.asked)
    say(panel)
    assert measuring.asked == asked, "it is over"


def test_another_model_asks_anew_what_can_run(panel):
    known = [("smollm2", "SmolLM2", "ready"), ("language:/m/a.gguf", "A", "ready"), ("playworld/vae", "VAE", "ready"),
             ("language:/m/b", "B", "missing")]  # fmt: skip
    rows = [{"key": key, "title": title, "state": state} for key, title, state in known]
    panel.gate._take_models(Result(facts={"models": rows}))
    box = panel.side_form._models
    assert [box.itemText(n) for n in range(box.count())] == ["SmolLM2", "A", "Add a model …"]
    box.setCurrentIndex(1)
    panel.side_form._on_model()
    assert panel.engine.last(ChatStatus).job.model == "language:/m/a.gguf"
    panel.engine.answer_all()
    assert say(panel).job.model == "language:/m/a.gguf"


def test_a_model_file_can_be_dropped(panel, tmp_path):
    file = tmp_path / "own.gguf"
    file.write_bytes(b"x")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    assert panel.accept_drop(mime) and panel.engine.last(ImportModel).job.path == str(file)
    panel.engine.last(ImportModel).succeed(Result(facts={"key": f"language:{file}"}))
    assert panel.side_form.model == f"language:{file}"
    other = QMimeData()
    other.setText("hello")
    assert not panel.accept_drop(other)


# --- the model is not here ------------------------------------------------------------------------------------


@pytest.fixture
def poor(qtbot, settings):
    """A panel on a machine without the model."""
    engine = ChatEngine()
    engine.status_facts |= {"ready": False, "sentence": "SmolLM2 is not on this machine yet.", "hint": "Fetch it."}
    return build(qtbot, settings, engine)


def test_without_a_model_the_panel_says_how_to_get_it(poor):
    assert "not on this machine" in poor.stage.welcome.words() and poor.engine.count(LoadLanguageModel) == 0
    poor.commands.send("Hello?")
    assert poor.engine.chats() == [] and "not on this machine" in poor.banner.text() and poor.conversation.empty


def test_fetching_shows_its_progress_and_then_the_panel_is_ready(poor):
    poor.commands.send("Hello?")
    assert "not on this machine" in poor.banner.text()
    poor.stage.welcome.get.click()
    assert not poor.banner.text() or poor.banner.isHidden(), "what the banner says is being mended"
    poor.stage.welcome.get.click()
    fetch = poor.engine.last(FetchModel)
    assert poor.engine.count(FetchModel) == 1
    fetch.progress.emit(Progress(done=30, total=100, unit="MiB", note="fetching SmolLM2, 12.3 MiB/s"))
    assert poor.stage.welcome._bar.value() == 300 and poor.stage.welcome.words() == "Fetching SmolLM2: 30 of 100 MiB, 12.3 MiB/s"
    poor.engine.status_facts["ready"] = True
    fetch.succeed(Result(facts={"key": "smollm2"}))
    poor.engine.answer_all()
    assert poor.stage.welcome.words() == "" and poor.gate.missing == "" and poor.engine.count(LoadLanguageModel) == 1


def test_a_fetch_can_fail_or_be_stopped_and_be_tried_again(poor):
    poor.stage.welcome.get.click()
    poor.engine.last(FetchModel).fail("There is no network.", "Connect, and try again.")
    assert poor.banner.text() == "There is no network." and poor.stage.welcome.get.isEnabled()
    asked = poor.engine.count(FetchModel)
    poor.banner.findChildren(QPushButton)[0].click()
    assert poor.engine.count(FetchModel) == asked + 1, "the banner itself tries again"
    poor.stage.welcome._cancel.click()
    assert poor.engine.last(FetchModel).asked == ["cancel"] and "goes on where it ended" in poor.stage.welcome.words()
    assert poor.stage.welcome.get.isEnabled() and poor.engine.count(FetchModel) == 2


def test_what_was_left_out_stands_in_a_line_of_its_own_and_no_box_waits_for_tokens(panel):
    handle, left_out = say(panel), "The beginning was left out: 12,000 of 20,040 tokens do not fit the context of 8,192."
    handle.begin()
    handle.tell_prompt(dropped=12_000, dropped_sentence=left_out)
    panel.messages.flush()
    answer = card(panel)
    assert answer.look.warning == left_out and answer._warning.text() == left_out and left_out not in answer.look.note
    assert answer.tokens_shown and answer._token_box.isHidden(), "nothing to show yet"
    handle.tell_round(rounds_of()[0])
    panel.messages.flush()
    assert not answer._token_box.isHidden()
    answer.show_tokens(False)
    assert answer._token_box.isHidden()


# --- conversations ----------------------------------------------------------------------------------------------


def test_several_conversations_are_kept_and_come_back(qtbot, settings):
    first = build(qtbot, settings)
    say(first, "What is a fox?").answer("An animal.")
    fox = first.conversation.id
    first.new_conversation()
    first.commands._on_system("Be brief.")
    say(first, "What is a hen?").answer("A bird.")
    first.stage.composer.edit.setPlainText("half a thought")
    first.about_to_close()
    settings.flush()
    second = build(qtbot, settings)
    assert texts(second) == ["What is a hen?", "A bird."] and second.stage.composer.text() == "half a thought"
    assert second.side_form.system.text() == "Be brief."
    assert sorted(second.side_form.conversations.names()) == ["What is a fox?", "What is a hen?"]
    second.open_conversation(fox)
    assert texts(second) == ["What is a fox?", "An animal."] and second.side_form.system.text() == ""


def test_delete_can_be_undone(panel):
    say(panel, "What is a fox?").answer("An animal.")
    gone = panel.conversation.id
    panel.side_form.conversations._on_delete()
    assert panel.conversation.id != gone and panel.side_form.conversations.names() == []
    panel.banner._action.click()
    assert panel.conversation.id == gone and texts(panel)[-1] == "An animal."


def test_what_cannot_be_taken_back_is_not_offered(panel):
    say(panel).answer("An animal.")
    panel.side_form.conversations._on_delete()
    panel.library.delete_now()
    assert panel.banner.text() == ""


def test_deleting_the_conversation_that_is_being_written(panel):
    handle = say(panel)
    handle.begin()
    handle.tell_prompt()
    panel.side_form.conversations._on_delete()
    assert handle.asked == ["cancel"] and panel.conversation.empty
    handle.tell_round(rounds_of()[0])
    panel.messages.flush()
    assert panel.library.conversations == {}


def test_renaming(panel):
    say(panel).answer("An animal.")
    panel.side_form.conversations.renamed.emit(panel.conversation.id, "Foxes")
    assert panel.stage._title.text() == "Foxes" and panel.side_form.conversations.names() == ["Foxes"]


def test_an_empty_conversation_leaves_no_file(panel, settings):
    panel.new_conversation()
    panel.stage.composer.edit.setPlainText("not sent")
    panel.new_conversation()
    panel.library.write_texts()
    settings.flush()
    assert panel.library.conversations == {} and list(panel.library.folder.glob("*.json")) == []


def test_settings_and_views_come_back(qtbot, settings):
    first = build(qtbot, settings)
    first.side_form.form.set_value("drafter", "medusa")
    first.side_form.form.set_value("temperature", 0.6)
    first.side_form.twice.setChecked(True)
    first.timeline.set_draft_shown(True)
    first.side.setCurrentIndex(1)
    first.messages.show_tokens = False
    first.save_now()
    first.about_to_close()
    settings.flush()
    second = build(qtbot, settings)
    assert second.side_form.job().drafter == "medusa" and second.side_form.job().temperature == 0.6
    assert second.side_form.twice.isChecked() and second.timeline.draft_shown and second.side.currentIndex() == 1
    assert second.messages.show_tokens is False


@pytest.mark.parametrize("state", [{"job": 5}, {"job": {"temperature": 99}}, {"job": {}, "side": "x"}, {"speed": []}])
def test_a_broken_state_starts_with_defaults(qtbot, settings, state):
    settings.set_panel("chat", state)
    panel = build(qtbot, settings)
    assert panel.side_form.job().temperature == 0.0 and panel.conversation.empty


def test_a_long_conversation_shows_its_end_first(panel):
    parent = 0
    for number in range(150):
        parent = panel.conversation.add(parent, "user" if number % 2 == 0 else "assistant", f"message {number}").id
    panel.show_conversation()
    assert len(panel.stage.main.cards()) == 16 and card(panel).text() == "message 149"
    panel.stage.main.earlier_wanted.emit()
    assert len(panel.stage.main.cards()) == 40 and card(panel, 0).text() == "message 110"


# --- raw text, copy, export, links ------------------------------------------------------------------------------


def test_the_raw_text_is_shown_on_demand(panel):
    say(panel).answer("An animal.")
    panel.stage._raw_button.click()
    job = panel.engine.last(RawTemplate).job
    assert [m.text for m in job.messages] == ["What is a fox?", "An animal."]
    panel.engine.answer_all()
    assert "<|im_start|>user\nWhat is a fox?" in panel.stage.raw.toPlainText() and panel.stage.raw_shown
    panel.stage._raw_button.click()
    assert not panel.stage.raw_shown


def test_copy_and_exports(panel, settings, tmp_path, monkeypatch):
    panel.stage.export_wanted.emit("markdown")
    assert "nothing to export" in panel.banner.text()
    say(panel).answer("An animal.")
    card(panel)._buttons["copy"].click()
    assert QGuiApplication.clipboard().text() == "An animal."
    panel.stage.export_wanted.emit("markdown")
    assert "## Model\n\nAn animal." in QGuiApplication.clipboard().text()
    target = tmp_path / "out.json"
    monkeypatch.setattr("app.panels.chat.sharing.QFileDialog.getSaveFileName", lambda *_: (str(target), ""))
    panel.stage.export_wanted.emit("save-json")
    settings.flush()
    saved = json.loads(Path(target).read_text("utf-8"))
    assert saved["messages"][-1]["text"] == "An animal." and saved["rounds"]


def test_a_link_is_opened_only_when_asked(panel, monkeypatch):
    opened = []
    monkeypatch.setattr("app.panels.chat.sharing.QDesktopServices.openUrl", opened.append)
    panel.messages.link_clicked.emit("https://a.test/x")
    assert opened == [] and "https://a.test/x" in panel.banner.text()
    panel.messages.link_clicked.emit("file:///etc/passwd")
    panel.messages.link_clicked.emit("javascript:alert(1)")
    assert "https://a.test/x" in panel.banner.text(), "anything but a web address is not even offered"
    panel.banner._action.click()
    assert [url.toString() for url in opened] == ["https://a.test/x"]


# --- for everybody ----------------------------------------------------------------------------------------------


def test_every_button_and_field_has_a_name_and_a_tooltip(panel):
    say(panel).answer()
    nameless = [
        widget
        for kind in (QAbstractButton, QLineEdit, QComboBox)
        for widget in panel.findChildren(kind)
        if widget.isVisibleTo(panel) and not (widget.toolTip() or (hasattr(widget, "text") and widget.text()) or widget.accessibleName())
    ]
    assert [widget for widget in nameless if not widget.objectName().startswith("qt_")] == []


def test_the_panel_survives_events_before_it_is_shown_and_after_it_is_closed(qtbot, settings):
    panel = ChatPanel(ChatEngine(), settings)
    qtbot.addWidget(panel)
    handle = say(panel)
    handle.answer()
    panel.about_to_close()
    handle.tell_round(rounds_of()[0])
    panel.engine.answer_all()


def test_screenshot_scenes_run_on_canned_replies(panel):
    for _name, scene in panel.screenshot_scenes():
        for wanted in scene(panel):
            if hasattr(wanted, "state") and wanted.active:
                wanted.answer()
            panel.engine.answer_all()
    assert panel.conversation.empty


def test_every_drafter_can_be_read_in_the_narrowest_column(panel):
    panel.side_form.resize(300, 800)
    panel.show()
    QApplication.processEvents()
    box, option = panel.side_form.form.editor("drafter"), QStyleOptionComboBox()
    box.initStyleOption(option)
    room = box.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, box).width()
    titles = [box.itemText(row) for row in range(box.count()) if "not here" not in box.itemText(row)]
    assert len(titles) >= 7 and max(map(box.fontMetrics().horizontalAdvance, titles)) <= room
