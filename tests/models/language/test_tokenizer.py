"""Token ids equal the published tokenizers', decoding loses nothing, and what cannot be trusted is refused in a sentence."""

import json
import random

import pytest
import tokenizers
import transformers

from models.checkpoint import CheckpointError
from models.language.tokenizer import LLAMA3, PATTERNS, Tokenizer, clean
from models.language.tokenizer_files import _split
from tests.models.language.tiny import byte_level_description, write_gguf, write_tokenizer

CONTROL = ["<|im_start|>", "<|im_end|>"]
SEEDS = [
    "Hello world", "  two  spaces\t\ttabs\n\n\nlines\r\n", "3.14159 1,000,000 ١٢٣ Ⅷ ½ ²", "don't we'll I'VE it's",
    "def f(x):\n    return {'a': [1, 2]}  # ok\n", "naïve café Straße ñandú İstanbul",
    "日本語のテキスト 中文字符 한국어", "שלום עולם مرحبا بالعالم",
    "e\u0301 a\u0308\u0323 Z\u0351\u036b\u0343", "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ 🏴\U000e0067\U000e007f",
    "\u200b\u200d\ufeff\u00a0\u3000\u2028", "\x00\x01\x04\x1f\x7f\x85",
    "<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|><repo_name><|im_start|", "a" * 300, " " * 70 + "x",
    "\U0001f9ff\ue000\U000f0000\U0010ffff",
    "https://example.org/?q=a%20b&c=d#e", "```py\nprint('x')\n```", "Ω≈ç√∫˜µ≤≥÷ ∀x∈ℝ", "", "\u202eRTL\u202c", "x\u0000y", "ﬁ ﬀ Ǆ ß ẞ",
]  # fmt: skip


def awkward(count: int) -> list[str]:
    """The seeds, pieces of them glued together, and random characters of every plane."""
    rng, texts = random.Random(7), list(SEEDS)
    while len(texts) < count:
        if rng.random() < 0.3:
            planes = rng.choices([(32, 127), (0, 0x2000), (0x10000, 0x20000), (0, 0x110000)], k=20)
            codes = [rng.randrange(*plane) for plane in planes]
            texts.append("".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000))
        else:
            cuts = [(seed, rng.randrange(len(seed) + 1)) for seed in rng.choices(SEEDS, k=3)]
            texts.append("".join(seed[cut : cut + rng.randrange(1, 30)] for seed, cut in cuts))
    return texts


# --- SmolLM2 ---


def test_smollm2_ids_equal_transformers_on_a_thousand_awkward_strings(smollm2, smollm2_reference):
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=smollm2_reference)
    texts = awkward(1000)
    for text, ids in zip(texts, theirs(texts, add_special_tokens=False)["input_ids"]):
        assert smollm2.tokenizer.encode(text, special=True) == ids, repr(text)


def test_digits_stand_alone_in_smollm2(smollm2):
    """The step that transformers' own reader drops: without it "12" could be one token."""
    texts = [smollm2.tokenizer.token_text(i) for i in smollm2.tokenizer.encode("a 1234 ١٢ x99")]
    assert all(sum(char.isnumeric() for char in text) <= 1 for text in texts) and texts[:5] == ["a", " ", "1", "2", "3"]


def test_smollm2_decoding_equals_transformers(smollm2, smollm2_reference):
    rng = random.Random(3)
    for _ in range(300):
        ids = [rng.randrange(49152) for _ in range(rng.randrange(1, 20))]
        assert smollm2.tokenizer.decode(ids) == smollm2_reference.decode(ids, skip_special_tokens=False)


def test_smollm2_facts(smollm2):
    tokenizer = smollm2.tokenizer
    assert tokenizer.vocab_size == 49152 and tokenizer.stop_ids == {0, 2} and len(tokenizer.special_ids) == 17
    assert (tokenizer.bos, tokenizer.eos) == ("<|im_start|>", "<|im_end|>")


# --- properties of any tokenizer ---


def sentencepiece() -> Tokenizer:
    """A little LLaMA-2-like vocabulary; scores as in GGUF."""
    from models.language.tokenizer_files import _sentencepiece

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *SPM_PIECES]
    kinds = [2, 3, 3, *[6] * 256, *[1] * len(SPM_PIECES)]
    return Tokenizer(_sentencepiece_of(pieces, kinds, _sentencepiece), stop_ids=[2], bos="<s>", eos="</s>")


SPM_PIECES = ["▁t", "he", "▁the", "in", "▁a", "er", "▁", "e", "t", "a", "i", "n", "r", "h", "o", "▁▁", "\n", "é", "1", "2"]


def _sentencepiece_of(pieces: list[str], kinds: list[int], build) -> dict:
    class File:
        from pathlib import Path

        path = Path("tiny.gguf")
        metadata = {"tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(len(pieces) - 259)]}

    added = [
        {"id": i, "content": pieces[i], "special": kinds[i] == 3, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for i in range(3)
    ]
    return {**build(File, pieces, kinds), "added_tokens": added}


def byte_level() -> Tokenizer:
    return Tokenizer(byte_level_description(CONTROL))


@pytest.fixture(params=[byte_level, sentencepiece], ids=["byte-level", "sentencepiece"], scope="module")
def tokenizer(request) -> Tokenizer:
    return request.param()


def back(tokenizer: Tokenizer, text: str) -> str:
    """What a text decodes to: SentencePiece takes a first blank of the text's own for the one it would have added."""
    return text.removeprefix(" ") if tokenizer.drops_first_blank else text


def test_texts_come_back(tokenizer):
    for text in awkward(300):
        assert tokenizer.decode(tokenizer.encode(text)) == back(tokenizer, text)


def test_control_tokens_typed_by_a_user_stay_text(tokenizer):
    for name in tokenizer.special_texts:
        for text in (name, f"a{name}b", name * 3, f"<{name}", f" {name}\n"):
            ids = tokenizer.encode(text)
            assert tokenizer.special_ids.isdisjoint(ids) and tokenizer.decode(ids) == back(tokenizer, text)
        assert len(tokenizer.encode(name, special=True)) == 1


def test_pieces_add_up_and_hold_back_incomplete_characters(tokenizer):
    rng = random.Random(1)
    for text in ["👩‍👩‍👧 é", *awkward(100)]:
        ids = tokenizer.encode(text)
        pieces = tokenizer.pieces(ids)
        assert len(pieces) == len(ids) and "".join(pieces) == back(tokenizer, text)
        assert pieces.count("\ufffd") <= text.count("\ufffd")
    for _ in range(300):  # any ids at all, whole characters or not
        ids = [rng.randrange(-1, tokenizer.vocab_size + 3) for _ in range(rng.randrange(30))]
        assert "".join(tokenizer.pieces(ids)) == tokenizer.decode(ids)
        data = b"".join(tokenizer.token_bytes(i) for i in ids)
        data = data.removeprefix(b" ") if tokenizer.drops_first_blank else data
        assert tokenizer.decode(ids) == data.decode("utf-8", "replace")


def test_a_stream_gives_what_decode_gives(tokenizer):
    ids = tokenizer.encode("so 👩‍👩‍👧, né")
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.end()]) == tokenizer.decode(ids)


def test_token_texts_are_readable(tokenizer):
    texts = [tokenizer.token_text(i) for i in range(tokenizer.vocab_size)]
    assert "<|im_end|>" in texts or "</s>" in texts
    assert "<E2>" in texts and "\n" in texts and tokenizer.token_text(10**6) == ""


def test_lone_surrogates_become_replacement_characters(tokenizer):
    assert clean("a\ud83d b\ude00") == "a\ufffd b\ufffd"
    assert clean("\ud83d\ude00") == "😀"
    assert tokenizer.encode("\ud83dx") == tokenizer.encode("\ufffdx")


def test_fingerprints_tell_vocabularies_apart():
    same, other = byte_level(), Tokenizer(byte_level_description(["<|im_start|>", "<|im_stop|>"]))
    assert byte_level().fingerprint == same.fingerprint != other.fingerprint


def test_sentencepiece_equals_transformers():
    from transformers import LlamaTokenizer

    ours = sentencepiece()
    vocab = {ours._texts[i]: i for i in range(ours.vocab_size)}
    backend = json.loads(ours._backend.to_str())
    merges = [tuple(pair) for pair in backend["model"]["merges"]]
    theirs = LlamaTokenizer(vocab=vocab, merges=merges)
    for text in ["the tea", "in a hat  there", " the", "", "\n1 é ü 😀", "eee", "ther the"]:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
    for text in ["<s>the</s> the", "the <s> in"]:
        assert ours.encode(text, special=True) == theirs(text, add_special_tokens=False)["input_ids"], text


def test_sentencepiece_merges_follow_the_scores():
    """"the" has a better score than "he": the merge that makes it comes first."""
    merges = [tuple(pair) for pair in json.loads(sentencepiece()._backend.to_str())["model"]["merges"]]
    assert merges[0] == ("▁", "t") and merges.index(("▁t", "he")) < merges.index(("i", "n"))
    assert not {text for pair in merges for text in pair} & {"<s>", "</s>", "<unk>"}


def test_split_by_llama3s_pattern_equals_the_package():
    text = "Hello 1234567 don't\n\n  x_y"
    ours = Tokenizer(byte_level_description(CONTROL, _split(LLAMA3)))
    texts = [ours.token_text(i) for i in ours.encode("1234567")]
    assert ours.decode(ours.encode(text)) == text and "".join(texts) == "1234567"


# --- files ---


def test_gguf_and_folder_give_the_same(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    write_tokenizer(tmp_path, CONTROL, eos_token="<|im_end|>", bos_token={"content": "<|im_start|>"})
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 3]}')
    first, second = Tokenizer.from_gguf(tmp_path / "tiny.gguf"), Tokenizer.from_folder(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert (first.stop_ids, second.stop_ids) == ({1}, {1, 3})
    assert (first.bos, first.eos) == (second.bos, second.eos) == ("<|im_start|>", "<|im_end|>")


def change(**parts):
    def apply(description):
        description.update(parts)

    return apply


def change_model(**parts):
    def apply(description):
        description["model"].update(parts)

    return apply


HOSTILE = {
    "no model": change(model=None),
    "other model": change_model(type="Unigram"),
    "no vocabulary": change_model(vocab=[]),
    "ids that are texts": change_model(vocab={"a": "b"}),
    "huge ids": change_model(vocab={"a": 10**12}),
    "negative ids": change_model(vocab={"a": -1}),
    "merges of unknown tokens": change_model(merges=[["zz", "yy"]]),
    "merges of another shape": change_model(merges=[[1, 2, 3]]),
    "slow pattern": change(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}),
    "strange pattern": change(pre_tokenizer={"type": "Split", "pattern": 7}),
    "nested parts": change(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": []}]}),
    "unknown part": change(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "growing text": change(normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10_000}),
    "no decoder": change(decoder=None),
    "added token without text": change(added_tokens=[{"id": 3}]),
    "endless added token": change(added_tokens=[{"id": 3, "content": "x" * 9999, "special": True}]),
    "endless added tokens": change(added_tokens=[{"id": i, "content": f"<{i}>", "special": True} for i in range(50_000)]),
    "added tokens that are no list": change(added_tokens={"a": 1}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_is_one_sentence(name):
    description = byte_level_description(CONTROL)
    HOSTILE[name](description)
    with pytest.raises(CheckpointError) as caught:
        Tokenizer(description, title="bad.json")
    assert "bad.json" in caught.value.message and caught.value.message.endswith(".") and "\n" not in caught.value.message


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, '{"model": 1}', "\ud83d".encode("utf-8", "surrogatepass")])
def test_a_damaged_tokenizer_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message


def test_a_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(("changes", "words"), [
    ({"tokenizer.ggml.model": "bert"}, "'bert'"),
    ({"tokenizer.ggml.pre": "martian"}, "'martian'"),
    ({"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": [1, 1]}, "twice"),
    ({"tokenizer.ggml.token_type": [1]}, "1 kinds"),
    ({"tokenizer.ggml.tokens": [1, 2]}, "list of tokens"),
    ({"tokenizer.ggml.merges": ["zz yy"]}, "damaged"),
])  # fmt: skip
def test_metadata_that_do_not_hold_together_are_one_sentence(tmp_path, changes, words):
    write_gguf(tmp_path / "bad.gguf", changes=changes)
    with pytest.raises(CheckpointError, match=words):
        Tokenizer.from_gguf(tmp_path / "bad.gguf")


def test_known_patterns_are_quick_on_hostile_text():
    """All patterns that are let in take linear time: a text ten times as long must not take a hundred times as long."""
    import time

    for pattern in PATTERNS:
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        for unit in ("a", " ", "a ", "'", "1", "\n", " \n", "é!"):
            begin = time.monotonic()
            split.pre_tokenize_str(unit * 2000)
            assert time.monotonic() - begin < 20, (pattern, unit)
