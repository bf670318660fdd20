"""Words, captions, facts, labels and questions agree with one another."""

import random
from dataclasses import replace

import pytest

from models.playworld.caption import article, caption
from models.playworld.labels import LABELS, Fact, labels
from models.playworld.people import FREE
from models.playworld.questions import questions
from models.playworld.scene import sample_scene
from models.playworld.words import (
    ALIASES,
    END,
    MAX_LEN,
    START,
    UNK,
    VOCAB_SIZE,
    VOCABULARY,
    WORD_GROUPS,
    decode,
    encode,
    split_words,
    unknown_words,
)

DEMO = "a person waving beside a red house, day sky, grass"
SCENES = [sample_scene(seed) for seed in range(1500)] + [sample_scene(seed, "held-out") for seed in range(500)]


def test_vocabulary_is_closed_sorted_and_small():
    assert list(VOCABULARY) == sorted(set(VOCABULARY)) and len(VOCABULARY) <= 400
    assert (UNK, START, END) == (len(VOCABULARY), len(VOCABULARY) + 1, len(VOCABULARY) + 2) and END == VOCAB_SIZE - 1
    assert not set(ALIASES) & set(VOCABULARY) and set(ALIASES.values()) <= set(VOCABULARY)
    for phrases in WORD_GROUPS.values():
        assert not [word for phrase in phrases for word in unknown_words(phrase)]


def test_encode_pads_with_the_end_and_truncates():
    ids = encode("a red house")
    assert ids == [START, *(VOCABULARY.index(word) for word in ("a", "red", "house")), *[END] * (MAX_LEN - 4)]
    assert encode("", 4) == [START, END, END, END]
    long = encode("red " * 100)
    assert len(long) == MAX_LEN and long[0] == START and long[-1] == END and long.count(END) == 1
    assert len(encode("a " * 5000, 16)) == 16


def test_decode_inverts_encode_and_unknown_words_are_named():
    assert decode(encode(DEMO)) == DEMO
    assert decode(encode("A Red HOUSE!")) == "a red house"
    assert unknown_words("a red dragon, a dragon and a castle") == ["dragon", "castle"]
    assert UNK in encode("a dragon") and decode(encode("a dragon")) == "a <unk>"
    assert encode("a gray pants color") == encode("a grey trousers colour")


def test_captions_use_the_vocabulary_and_fit():
    rng = random.Random(1)
    for scene in SCENES:
        text, _ = caption(scene, rng)
        assert text and text == text.lower() and not unknown_words(text)
        assert len(split_words(text)) <= MAX_LEN - 2
        assert decode(encode(text)) == text


def test_captions_state_only_truths():
    rng, stated = random.Random(2), set()
    for scene in SCENES:
        truth = labels(scene)
        _, facts = caption(scene, rng)
        assert len(set(facts)) == len(facts)
        for fact in facts:
            assert truth[fact.head] == fact.index, fact
            stated.add((fact.head, fact.index))
    every = {(head, i) for head, classes in LABELS.items() for i in range(len(classes)) if head.split(".")[-1] != "present"}
    assert len(every - stated) < 0.05 * len(every)


def test_the_words_of_a_caption_are_its_facts():
    """Every value stated is spelt out, and no colour is spelt out without a fact."""
    rng = random.Random(3)
    colours = {"red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black", "brown", "grey", "blond", "ginger"}
    for scene in SCENES:
        text, facts = caption(scene, rng)
        words = split_words(text)
        stated = [fact.value for fact in facts if fact.value in colours]
        assert sorted(word for word in words if word in colours) == sorted(stated)
        for fact in facts:
            if fact.attribute == "present":
                assert fact.subject in text or fact.subject == "boat" and "sailboat" in text
        for kind in ("house", "tree", "car", "cat", "dog", "kite", "umbrella", "flower"):
            if kind in words and not (kind == "tree" and "pine" in words):
                assert Fact(kind, "present") in facts


def test_two_people_are_told_apart():
    rng = random.Random(4)
    for scene in (scene for scene in SCENES if len(scene.people) == 2):
        text, facts = caption(scene, rng)
        if text.count("a person") == 2:
            assert {fact.subject for fact in facts if fact.attribute == "position"} >= {"person0", "person1"}
        elif "person" in split_words(text):
            assert "the left person" in text and "the right person" in text


def test_the_demo_prompt_is_a_caption():
    scene = next(
        s
        for s in SCENES
        if len(s.people) == 1 and s.people[0].position == "middle" and len(s.things) == 1 and s.things[0].position == "left"
    )
    scene = replace(
        scene,
        sky="day",
        ground="grass",
        people=(replace(scene.people[0], pose="waving", hat="none"),),
        things=(replace(scene.things[0], kind="house", colour="red"),),
    )
    told = {caption(scene, rng) for rng in (random.Random(seed) for seed in range(30000))}
    assert dict(told)[DEMO] == (
        Fact("people", "count", "1"),
        Fact("person0", "pose", "waving"),
        Fact("house", "present"),
        Fact("house", "colour", "red"),
        Fact("sky", "day"),
        Fact("ground", "grass"),
    )


def test_captions_vary_and_repeat_with_their_rng():
    scene = next(scene for scene in SCENES if scene.things and scene.people)
    assert len({caption(scene, random.Random(seed))[0] for seed in range(200)}) > 150
    assert caption(scene, random.Random(5)) == caption(scene, random.Random(5))


def test_labels_are_complete():
    for scene in SCENES[:300]:
        truth = labels(scene)
        assert list(truth) == list(LABELS)
        assert all(-1 <= index < len(LABELS[head]) for head, index in truth.items())
        assert truth["people.count"] == len(scene.people)
        for i in range(2):
            named = i < len(scene.people) and scene.people[i].pose != FREE
            assert (truth[f"person{i}.pose"] >= 0) == named
            assert (truth[f"person{i}.hat"] >= 0) == (i < len(scene.people))
        assert sum(truth[f"{kind}.present"] for kind in {h.split(".")[0] for h in LABELS if h.endswith("present")}) == len(scene.things)


def test_questions_are_answered_by_the_labels():
    rng = random.Random(6)
    for scene in SCENES[:400]:
        truth, asked = labels(scene), dict(questions(scene, rng))
        assert not [word for pair in asked.items() for text in pair for word in unknown_words(text)]
        assert asked["what sky is it?"] == LABELS["sky"][truth["sky"]]
        assert asked["how many people are there?"] == ("zero", "one", "two")[truth["people.count"]]
        for kind in (head.split(".")[0] for head in LABELS if head.endswith("present")):
            present = truth[f"{kind}.present"]
            assert asked.get(f"is there {article(kind)}?", "yes" if present else "no") == ("yes" if present else "no")
            if present:
                assert asked[f"what colour is the {kind}?"] == LABELS[f"{kind}.colour"][truth[f"{kind}.colour"]]
                assert asked[f"is the {kind} near or far?"] == LABELS[f"{kind}.distance"][truth[f"{kind}.distance"]]
                assert asked[f"where is the {kind}?"].split()[-1] == LABELS[f"{kind}.position"][truth[f"{kind}.position"]]
        names = ["person"] if len(scene.people) == 1 else ["left person", "right person"][: len(scene.people)]
        for i, name in enumerate(names):
            assert asked[f"what colour is the shirt of the {name}?"] == LABELS[f"person{i}.shirt"][truth[f"person{i}.shirt"]]


@pytest.mark.parametrize(
    "fact", [Fact("sky", "night"), Fact("house", "present"), Fact("person1", "hat", "none"), Fact("people", "count", "2")]
)
def test_a_fact_names_its_head_and_class(fact):
    assert LABELS[fact.head][fact.index] in (fact.attribute, fact.value, "yes")
