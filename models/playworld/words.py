"""The closed vocabulary of Playworld and its tokenizer: one word or mark, one id.

Ids: words from 0 in alphabetical order, then <unk> = V-3, <start> = V-2, <end> = V-1. As in Stable Diffusion's CLIP, a
text is <start> words <end>, padded with <end>, and the end has the largest id.
"""

import re

from models.playworld.people import FREE
from models.playworld.scene import COLOURS, HAIRS, TROUSERS

SKY_NOUNS = {
    "day": ("day sky", "clear sky", "daylight"), "sunset": ("sunset sky", "sunset", "evening sky"),
    "night": ("night sky", "starry sky", "night"), "overcast": ("overcast sky", "cloudy sky", "clouds"),
}
SKY_ADVERBS = {
    "day": ("by day", "on a sunny day", "in daylight"), "sunset": ("at sunset", "in the evening"),
    "night": ("at night", "under the stars", "under the moon"), "overcast": ("in cloudy weather", "under clouds"),
}
GROUND_NOUNS = {
    "grass": ("grass", "a meadow", "a lawn"), "sand": ("sand", "a beach"),
    "snow": ("snow", "snowy ground"), "road": ("road", "a road", "a street"),
}
GROUND_ADVERBS = {
    "grass": ("on grass", "on the grass", "in a meadow"), "sand": ("on sand", "on the sand", "on a beach"),
    "snow": ("in the snow", "on snow"), "road": ("on the road", "on a road", "on a street"),
}
KIND_NOUNS = {
    "house": ("house",), "tree": ("tree",), "pine": ("pine", "pine tree"), "car": ("car",), "ball": ("ball",),
    "boat": ("boat", "sailboat", "boat on water"), "cat": ("cat",), "dog": ("dog",), "flower": ("flower",),
    "balloon": ("balloon", "hot air balloon"), "umbrella": ("umbrella",), "kite": ("kite",),
}
PLACES = {
    "left": ("on the left", "at the left"), "middle": ("in the middle", "in the center"),
    "right": ("on the right", "at the right"),
}
RANGES = {"near": ("near", "close", "up close"), "far": ("far away", "in the distance", "far")}
POSE_PHRASES = {
    "standing": ("standing", "standing still"), "waving": ("waving", "waving a hand"),
    "arms up": ("with arms up", "raising both arms"),
    "arms wide": ("with arms wide", "with arms spread wide"), "hands on hips": ("with hands on hips",), "pointing": ("pointing",),
    "walking": ("walking",), "running": ("running",), "kicking": ("kicking",), "sitting": ("sitting", "sitting down"),
    "jumping": ("jumping",), "star jump": ("doing a star jump",), FREE: (FREE,),
}
SENTENCE_WORDS = (
    "a an the and with without wearing in on at of is are there it next to beside person people someone nobody no one two "
    "left middle right shirt trousers hat hair"
)
QUESTION_WORDS = "what where how many things colour doing ground sky or yes none zero three nothing"


def _flatten(table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrase for phrases in table.values() for phrase in phrases))


# What the prompt box offers, in the order it offers it.
WORD_GROUPS: dict[str, tuple[str, ...]] = {
    "people": ("a person", "two people", "the left person", "the right person", "someone", "nobody", "no people"),
    "poses": _flatten(POSE_PHRASES),
    "clothes": ("in a", "wearing a", "shirt", "trousers", "hat", "without a hat", "hair"),
    "things": _flatten(KIND_NOUNS),
    "colours": tuple(dict.fromkeys((*COLOURS, *TROUSERS, *HAIRS))),
    "places": (*_flatten(PLACES), "beside", "next to"),
    "distances": _flatten(RANGES),
    "skies": (*_flatten(SKY_NOUNS), *_flatten(SKY_ADVERBS)),
    "grounds": (*_flatten(GROUND_NOUNS), *_flatten(GROUND_ADVERBS)),
}

VOCABULARY: tuple[str, ...] = tuple(sorted({
    *(word for phrases in WORD_GROUPS.values() for phrase in phrases for word in phrase.split()),
    *SENTENCE_WORDS.split(), *QUESTION_WORDS.split(), ",", ".", "?",
}))
VOCAB_SIZE = len(VOCABULARY) + 3
UNK, START, END = VOCAB_SIZE - 3, VOCAB_SIZE - 2, VOCAB_SIZE - 1
MAX_LEN = 32

# Words people type for words of the vocabulary; they share its id.
ALIASES = {
    "color": "colour", "gray": "grey", "blonde": "blond", "violet": "purple", "man": "person", "woman": "person",
    "boy": "person", "girl": "person", "child": "person", "persons": "people", "pants": "trousers", "jeans": "trousers",
    "tshirt": "shirt", "centre": "center", "cap": "hat", "automobile": "car", "kitten": "cat", "puppy": "dog",
    "ship": "boat", "home": "house", "parasol": "umbrella", "sunrise": "sunset", "nighttime": "night", "lake": "water",
    "asphalt": "road", "jogging": "running", "seated": "sitting", "1": "one", "2": "two", "0": "no", "&": "and",
}
_IDS = {word: i for i, word in enumerate(VOCABULARY)} | {alias: VOCABULARY.index(word) for alias, word in ALIASES.items()}


def split_words(text: str) -> list[str]:
    """Lower-case words and the marks , . ? in order; other marks only part words."""
    return re.findall(r"\w+|[,.?&]", text.lower())


def encode(text: str, max_len: int = MAX_LEN) -> list[int]:
    """max_len ids: <start>, at most max_len - 2 words, <end> to the end."""
    ids = [_IDS.get(word, UNK) for word in split_words(text)[:max_len - 2]]
    return [START, *ids, *[END] * (max_len - 1 - len(ids))]


def decode(ids) -> str:
    """The text of ids, up to the first <end>; unknown words read <unk>."""
    words = []
    for i in ids:
        if i == END:
            break
        if i != START:
            words.append("<unk>" if i == UNK else VOCABULARY[i])
    return re.sub(r" (?=[,.?])", "", " ".join(words))


def unknown_words(text: str) -> list[str]:
    """The words of a text that the vocabulary lacks, each once, in order."""
    return list(dict.fromkeys(word for word in split_words(text) if word not in _IDS))
