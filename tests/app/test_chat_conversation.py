"""Conversations as trees, their files, the rounds of a reply, and what is said about them."""

from __future__ import annotations

import dataclasses
import json

import pytest
from PySide6.QtCore import QObject

from app.jobs.chat import Chat
from app.panels.chat import explain, export, figures, reply_file
from app.panels.chat.conversation import ROOT, Conversation, from_json
from app.panels.chat.counting import counted, together
from app.panels.chat.library import Library, read_all
from app.panels.chat.reply import BROKEN_OFF, WAITING, Reply, footer, speed_up
from app.protocol.chat import ForcedToken
from app.protocol.errors import UserError
from app.storage import Storage
from tests.app.chat_fakes import PROMPT_IDS, REPLY, counters_of, gamma, prompt_of, rounds_of


@pytest.fixture
def storage():
    made = Storage()
    yield made
    made.flush(3)
    made.close(3)


def talk() -> Conversation:
    """Two turns, the first question edited once, its answer written twice."""
    made = Conversation()
    made.system = "Be brief."
    first = made.add(ROOT, "user", "What is a fox?")
    made.add(first.id, "assistant", "An animal.")
    second = made.add(first.id, "assistant", "A small dog-like animal.")
    asked = made.add(second.id, "user", "And a hen?")
    made.add(asked.id, "assistant", "A bird.")
    edited = made.add(ROOT, "user", "What is a wolf?")
    made.add(edited.id, "assistant", "A large one.")
    return made


def reply_of(rounds=None, **facts) -> Reply:
    made = Reply("c", 2)
    rounds = rounds_of() if rounds is None else rounds
    made.begin(prompt_of(Chat(prompt="x")))
    for round_ in rounds:
        made.add(round_)
    made.facts.update(counters=counters_of(rounds), job={"model": "smollm2"}, **facts)
    return made


# --- the tree -----------------------------------------------------------------------------------------------


def test_the_path_follows_the_chosen_branches():
    made = talk()
    assert [message.text for message in made.path()] == ["What is a wolf?", "A large one."]
    made.switch(made.path()[0].id, -1)
    assert [message.text for message in made.path()] == ["What is a fox?", "A small dog-like animal.", "And a hen?", "A bird."]
    assert made.branch_of(made.path()[1].id) == (2, 2)
    made.switch(made.path()[1].id, -1)
    assert made.path()[-1].text == "An animal."
    made.switch(made.path()[1].id, -5)
    assert made.path()[-1].text == "An animal.", "there is nothing before the first"


def test_following_a_message_leads_the_path_through_it():
    made = talk()
    bird = next(message.id for message in made.messages.values() if message.text == "A bird.")
    made.follow(bird)
    assert made.path()[-1].id == bird


def test_the_model_is_given_the_branch_of_the_answer_and_the_system_prompt():
    made = talk()
    bird = next(message.id for message in made.messages.values() if message.text == "A bird.")
    given = made.for_model(bird)
    assert [message.role for message in given] == ["system", "user", "assistant", "user"]
    assert given[0].text == "Be brief." and given[2].text == "A small dog-like animal."
    made.system = "  "
    assert made.for_model(bird)[0].role == "user"


def test_an_answer_stopped_before_its_first_word_is_not_given_to_the_model():
    made = Conversation()
    asked = made.add(ROOT, "user", "a")
    silent = made.add(asked.id, "assistant", "")
    again = made.add(silent.id, "user", "b")
    answer = made.add(again.id, "assistant")
    assert [message.text for message in made.for_model(answer.id)] == ["a", "b"]


def test_a_conversation_survives_its_json():
    made = talk()
    made.messages[2].facts = {"drafter": "lookup"}
    made.beside, made.draft, made.title = 3, "half a", "Foxes"
    back = from_json(json.loads(json.dumps(made.to_json())))
    assert back == made


@pytest.mark.parametrize(
    "content",
    [None, 5, {}, {"version": 1}, {"version": 99, "messages": []}, {"version": "1", "messages": []}, {"version": 1, "messages": "x"}],
)
def test_nonsense_is_refused_with_a_sentence(content):
    with pytest.raises(UserError) as error:
        from_json(content)
    assert error.value.hint


def test_a_half_broken_conversation_keeps_what_makes_sense():
    content = talk().to_json()
    content["messages"] += [
        {"id": 50, "parent": 999, "role": "user", "text": "orphan", "chosen": 0},
        {"id": 2, "parent": 0, "role": "user", "text": "twice", "chosen": 0},
        {"id": 51, "parent": 1, "role": "wizard", "text": "x", "chosen": 0},
        {"id": 52, "parent": 1, "role": "user", "text": 17, "chosen": 10**9, "facts": "no"},
        "junk", {"id": True},
    ]  # fmt: skip
    content |= {"beside": 12345, "title": 3, "changed": "now"}
    back = from_json(content)
    assert 50 not in back.messages and 51 not in back.messages and back.messages[2].text == "An animal."
    assert back.messages[52].text == "" and back.messages[52].facts == {} and back.beside is None
    back.path()


def test_a_parent_cannot_be_its_own_child():
    content = {"version": 1, "messages": [{"id": 1, "parent": 1, "role": "user", "text": "x", "chosen": 0}]}
    assert from_json(content).path() == []


# --- rounds in files ----------------------------------------------------------------------------------------


def test_rounds_survive_their_file(tmp_path):
    rounds = [dataclasses.replace(round_, reason="stop") if n == 3 else round_ for n, round_ in enumerate(rounds_of(seed=4))]
    given = (ForcedToken(id=1, text="A", piece="A"),)
    path = tmp_path / "2.jsonl"
    path.write_text("\n".join([reply_file.head(PROMPT_IDS, given), *map(reply_file.line, rounds)]), "utf-8")
    kept = reply_file.read(path)
    assert kept.prompt_ids == PROMPT_IDS and kept.beginning == given
    for old, new in zip(rounds, kept.rounds, strict=True):
        assert new.drafted == old.drafted and new.text == old.text and new.reason == old.reason
        assert [token.kind for token in new.tokens] == [token.kind for token in old.tokens]
        assert new.tokens[0].p == pytest.approx(old.tokens[0].p, rel=1e-4) and new.tokens[0].top == old.tokens[0].top


@pytest.mark.parametrize("cut", [0, 1, 30, 200, 1000])
def test_a_file_broken_off_gives_all_whole_lines(tmp_path, cut):
    rounds = rounds_of(seed=4)
    text = "\n".join([reply_file.head(PROMPT_IDS, ()), *map(reply_file.line, rounds)])
    path = tmp_path / "2.jsonl"
    path.write_text(text[: len(text) - cut], "utf-8")
    kept = reply_file.read(path)
    assert kept.prompt_ids == PROMPT_IDS and (len(kept.rounds) < len(rounds) if cut else len(kept.rounds) == len(rounds))
    assert [round_.text for round_ in kept.rounds] == [round_.text for round_ in rounds[: len(kept.rounds)]]


@pytest.mark.parametrize(
    "line", ["", "null", "{}", "[]", "[" * 5000, '{"version": 2}', '{"version":1,"prompt_ids":["x"],"beginning":[]}', "\x00\x01"]
)
def test_a_hostile_file_gives_nothing(tmp_path, line):
    path = tmp_path / "2.jsonl"
    path.write_text(line, "utf-8")
    assert reply_file.read(path) == reply_file.Kept()
    assert reply_file.read(tmp_path / "none") == reply_file.Kept()


def test_a_round_with_nonsense_ends_the_reading(tmp_path):
    good = reply_file.line(rounds_of(seed=4)[0])
    for bad in (good.replace('"plain"', '"golden"').replace('"accepted"', '"golden"').replace('"corrected"', '"golden"'), "[1,2]", "NaN"):
        path = tmp_path / "2.jsonl"
        path.write_text("\n".join([reply_file.head((), ()), good, bad, good]), "utf-8")
        assert len(reply_file.read(path).rounds) == 1


# --- the library --------------------------------------------------------------------------------------------


@pytest.fixture
def home():
    """What libraries belong to."""
    return QObject()


def library(qtbot, home, storage, folder) -> Library:
    made = Library(storage, folder, home)
    with qtbot.waitSignal(made.opened):
        made.open()
    return made


def test_what_is_kept_is_read_again(qtbot, home, storage, tmp_path):
    first = library(qtbot, home, storage, tmp_path)
    made, reply = talk(), reply_of()
    reply.conversation = made.id
    first.keep(made)
    first.keep_rounds(reply)
    first.close_down()
    storage.flush(3)
    second = library(qtbot, home, storage, tmp_path)
    assert second.conversations[made.id].to_json() == made.to_json()
    back = Reply(made.id, 2)
    back.loaded = False
    done = []
    second.load_rounds(back, lambda: done.append(1))
    qtbot.waitUntil(lambda: done == [1])
    assert back.loaded and back.ids == reply.ids and back.prompt_ids == PROMPT_IDS and back.position == len(back.rounds)
    second.close_down()


def test_the_figures_of_a_reply_broken_off_are_those_of_the_rounds_that_were_kept():
    whole = reply_of()
    back = Reply("c", 2, {"state": BROKEN_OFF, "counters": {"rounds": len(whole.rounds), "new_tokens": whole.tokens}})
    back.restore(PROMPT_IDS, (), whole.rounds[:-2])
    assert back.counters["rounds"] == len(whole.rounds) - 2 and back.counters["new_tokens"] == back.tokens < whole.tokens


def test_a_crash_in_the_middle_of_a_reply_loses_no_text(qtbot, home, storage, tmp_path):
    """Nothing is closed: what the timers have handed over so far is what a crash leaves."""
    made = library(qtbot, home, storage, tmp_path)
    conversation = Conversation()
    asked = conversation.add(ROOT, "user", "Hello")
    answer = conversation.add(asked.id, "assistant", "")
    answer.facts["state"] = "writing"
    for word in ("One ", "two ", "three"):
        answer.text += word
        made.keep(conversation)
    path = tmp_path / f"{conversation.id}.json"
    qtbot.waitUntil(lambda: path.exists() and "One two three" in path.read_text("utf-8"), timeout=3000)
    found, broken = read_all(tmp_path)
    assert broken == [] and found[0].path()[-1].text == "One two three"
    assert found[0].path()[-1].facts["state"] == BROKEN_OFF
    made.close_down()


def test_a_file_that_cannot_be_read_is_left_alone_and_told_of(qtbot, home, storage, tmp_path):
    (tmp_path / "bad.json").write_text("{", "utf-8")
    (tmp_path / "deep.json").write_text("[" * 100_000, "utf-8")
    made, told = Library(storage, tmp_path, home), []
    made.failed.connect(told.append)
    with qtbot.waitSignal(made.opened):
        made.open()
    assert made.conversations == {} and "2 saved conversations cannot be read" in str(told[0])
    assert (tmp_path / "bad.json").read_text("utf-8") == "{"
    made.close_down()


def test_a_deletion_can_be_taken_back_until_the_next(qtbot, home, storage, tmp_path):
    made = library(qtbot, home, storage, tmp_path)
    one, two = talk(), talk()
    for each in (one, two):
        made.keep(each)
    made.write_texts()
    storage.flush(3)
    made.delete(one.id)
    made.undelete()
    assert one.id in made.conversations
    made.delete(one.id)
    made.delete(two.id)
    qtbot.waitUntil(lambda: not (tmp_path / f"{one.id}.json").exists())
    assert (tmp_path / f"{two.id}.json").exists()
    made.undelete()
    made.close_down()
    storage.flush(3)
    assert [path.stem for path in tmp_path.glob("*.json")] == [two.id]


# --- what is said about a reply -----------------------------------------------------------------------------


def test_the_footer_speaks_the_words_people_know():
    reply = reply_of(plain_tokens_per_s=40.0, stamp={"ok": True, "mismatches": []}, lossless=True)
    counters = reply.counters
    line = footer(reply.facts)
    assert line.startswith(f"{counters['tokens_per_s']:.0f} tok/s · {counters['new_tokens']} tokens · ")
    assert f"{counters['draft_acceptance_rate'] * 100:.0f} % draft tokens accepted" in line
    assert f"{counters['tokens_per_s'] / 40:.2f}x measured" in line and line.endswith("lossless")
    reply.facts["stamp"] = {"ok": False, "mismatches": [{}, {}]}
    assert "2 tokens not the first choice" in footer(reply.facts)


@pytest.mark.parametrize("drafter", ["none", "lookup", "medusa"])
def test_counting_keeps_the_identities(drafter):
    """Against the definitions as the fakes spell them out, and tau = 1 + the sum of the rates by position."""
    rounds = rounds_of(drafter=drafter, seed=3)
    mine, wanted = counted(rounds, 0.08), counters_of(rounds)
    trees = drafter == "medusa"
    for name, value in wanted.items():
        if name.endswith("_acceptance_rate") and trees:
            assert mine[name] is None, "nodes of a tree compete: their share says nothing"
        elif isinstance(value, list):
            assert mine[name] == pytest.approx(value[: len(mine[name])]) and not any(value[len(mine[name]) :]), name
        else:
            assert mine[name] == (value if value is None else pytest.approx(value)), name
    assert mine["mean_acceptance_length"] == pytest.approx(1 + sum(mine["acceptance_by_position"]))


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_two_parts_count_as_the_whole(cut):
    rounds = rounds_of(seed=6)
    whole, parts = counted(rounds), together(counted(rounds[:cut]) if cut else {}, counted(rounds[cut:]))
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value), name


def test_a_speed_up_is_never_estimated():
    reply = reply_of()
    assert speed_up(reply.facts) is None and "measured" not in footer(reply.facts)
    assert dict(row[:2] for row in figures.summary_rows(reply))["Speed-up"] == "not measured"


def test_plain_replies_and_endings_in_the_footer():
    plain = reply_of(rounds_of(drafter="none"), reason="length")
    assert "accepted" not in footer(plain.facts) and "cut at the token limit" in footer(plain.facts)
    assert footer({"state": WAITING}) == "waiting" and footer({"state": "writing"}) == ""


def test_branches_begin_with_what_was_there():
    reply = reply_of()
    index = next(n for n, round_ in enumerate(reply.rounds) if any(d.fate == "untested" for d in round_.drafted))
    drafted = reply.rounds[index].drafted
    place = next(n for n, draft in enumerate(drafted) if draft.fate == "untested")
    ids = reply.ids_to_draft(index, place)
    start = reply.first_of(index)
    assert ids[:start] == reply.ids[:start] and ids[start:] == tuple(draft.id for draft in drafted[: place + 1])
    assert reply.ids_with(3, 77) == (*reply.ids[:3], 77)
    reply.beginning = (ForcedToken(id=5, text="x", piece="x"),)
    assert reply.ids_with(0, 77) == (5, 77) and reply.given_ids == (*PROMPT_IDS, 5) and reply.text == "x" + REPLY


def test_the_equation_of_a_token_has_its_numbers():
    reply = reply_of()
    every = [(n, *reply.at(n)) for n in range(reply.tokens)]
    n, round_, place = next(item for item in every if item[1].tokens[item[2]].kind == "accepted")
    page = explain.token_page(reply, n)
    draft = next(d for d in round_.drafted if d.depth == place + 1)
    assert "accept if u < p / q" in page.equation and f"{draft.u:.3f} < {draft.p:.3f} / {draft.q:.3f}" in page.equation
    n, *_ = next(item for item in every if item[1].tokens[item[2]].kind == "corrected")
    page = explain.token_page(reply, n)
    assert "max(0, p − q)" in page.equation and "≥" in page.equation and "arXiv" in page.reference
    n, *_ = next(item for item in every if item[1].tokens[item[2]].kind == "bonus")
    assert "x ~ p" in explain.token_page(reply, n).equation


def test_every_page_can_be_made_of_every_kind_of_reply():
    for drafter in ("none", "lookup", "medusa"):
        reply = reply_of(rounds_of(drafter=drafter))
        for token in range(reply.tokens):
            page = explain.token_page(reply, token)
            assert page.name and page.explanation and page.reference
            round_, place = reply.at(token)
            bars = explain.alternative_bars(round_.tokens[place])
            assert sum(bar.chosen for bar in bars) == 1 and all((bar.key is None) == bar.chosen for bar in bars)
        for index, round_ in enumerate(reply.rounds):
            assert explain.round_page(reply, index).rows
            for draft in round_.drafted:
                assert explain.draft_page(reply, round_, draft).equation


def test_break_even_compares_what_is_needed_with_what_is_there():
    report = gamma()["report"]
    bars, words = figures.break_even(report, 2)
    assert bars[0].mark == pytest.approx(0.2) and bars[0].value == 0.61 and words.endswith("it pays.")
    assert "length 3" in figures.break_even(report, 0)[1], "adaptive: the best one"
    assert "length 1" in figures.break_even(dataclasses.replace(report, best=0), 0)[1], "plain decoding needs no acceptance"
    poor = dataclasses.replace(report, acceptance=0.1)
    bars, words = figures.break_even(poor, 2)
    assert bars[0].role == "error" and words.endswith("it costs.")
    assert "length 3" in figures.best_words(report) and "plain decoding is fastest" in figures.best_words(
        dataclasses.replace(report, best=0)
    )


def test_trees_break_even_in_tokens_a_round():
    report = dataclasses.replace(gamma()["report"], drafter="medusa")
    bars, words = figures.break_even(report, 2)
    assert bars == [] and "1.52 tokens a round, and gives 2.20" in words and words.endswith("it pays.")  # 2.2 / (58 / 40)
    name, have, need = figures.break_even_line(report)
    assert name == "tokens a round" and have[1] == pytest.approx(2.2) and need[1] == pytest.approx(2.2 / 1.45)


def test_markdown_and_json_exports():
    made = talk()
    text = export.markdown(made)
    assert text.startswith("# What is a fox?") and "## You\n\nWhat is a wolf?" in text and "And a hen?" not in text
    everything = export.everything(made, [reply_of()])
    assert len(everything["messages"]) == len(made.messages) and everything["rounds"]["2"][0]["tokens"][0]["kind"]
    json.dumps(everything)
    made.title = "a/b: <c>"
    assert export.file_name(made) == "ab c"
