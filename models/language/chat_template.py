"""Chat templates: small jinja2 programs, carried by model files, that lay a conversation out as one text.

A template comes from a stranger's file and is rendered in a sandbox (`template_sandbox.py`). What people write must not
become control tokens, whatever it looks like: before rendering, each control token's name inside a message (also one
that would only arise at a message's border) gets a private character in place of its first one, so that only the
template's own control tokens are recognised; afterwards the characters are put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jinja2

from models.language.template_sandbox import TemplateSandbox
from models.language.tokenizer import Tokenizer

MAX_SOURCE = 100_000
"""Characters of a template; the longest published ones have about 20,000."""
PRIVATE = range(0xE000, 0xF900)
"""Characters without a meaning of their own."""
KEPT = "The conversation is kept; choose another model."


class TemplateError(ValueError):
    """A chat template that cannot be used: one sentence, and what to do."""

    def __init__(self, message: str, hint: str = KEPT) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class ChatTemplate:
    """The source of a template, and the texts of the tokens it may name."""

    source: str
    bos: str = ""
    eos: str = ""


def render(template: ChatTemplate | str, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    """The conversation as one text; TemplateError if the template does not end, grows or reaches for what is not its own."""
    template = ChatTemplate(template) if isinstance(template, str) else template
    if len(template.source) > MAX_SOURCE:
        raise TemplateError(f"The chat template has {len(template.source)} characters, more than {MAX_SOURCE}.")
    try:
        return TemplateSandbox().from_string(template.source).render(
            messages=[dict(message) for message in messages], add_generation_prompt=add_generation_prompt,
            bos_token=template.bos, eos_token=template.eos,
        )  # fmt: skip
    except RecursionError:
        raise TemplateError("The chat template of this model cannot be used: it calls itself without end.") from None
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, MemoryError, SyntaxError) as error:
        raise TemplateError(f"The chat template of this model cannot be used: {str(error)[:160] or type(error).__name__}.") from None


def encode_chat(
    tokenizer: Tokenizer, template: ChatTemplate | str, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
) -> list[int]:
    """Token ids of the rendered conversation, in which nothing that a message says is a control token."""
    source = template if isinstance(template, str) else template.source
    guard = _Guard(tokenizer.special_texts, [source, *(text for message in messages for text in message.values())])
    guarded = [
        {name: guard.hide(text, inside=name != "role") for name, text in message.items()} for message in messages
    ]  # fmt: skip
    parts = tokenizer.split_control(render(template, guarded, add_generation_prompt))
    return tokenizer.encode_parts([guard.show(part) if isinstance(part, str) else part for part in parts])


class _Guard:
    """Hides names of control tokens in texts, and shows them again."""

    def __init__(self, names: Iterable[str], texts: Iterable[str]) -> None:
        self.names = sorted(set(names), key=len, reverse=True)
        used = set().union(*map(set, texts))
        free = (chr(code) for code in PRIVATE if chr(code) not in used)
        chars = sorted({char for name in self.names for char in name})
        self._hidden = dict(zip(chars, free))
        if len(self._hidden) < len(chars):
            raise TemplateError("The messages use too many private characters.", "Leave out characters from U+E000 to U+F8FF.")
        self._shown = str.maketrans({private: char for char, private in self._hidden.items()})

    def hide(self, text: str, inside: bool = True) -> str:
        """The text in which no control token's name stands, nor can arise together with what a template puts around it.

        A role may be the inside of a name, as in '<|' + role + '|>': `inside` False lets it.
        """
        for name in self.names:
            text = text.replace(name, self._hidden[name[0]] + name[1:])
        risky = {at for name in self.names for at in _risky_places(text, name, inside)}
        return "".join(self._hidden.get(char, char) if at in risky else char for at, char in enumerate(text)) if risky else text

    def show(self, text: str) -> str:
        """The text as it was."""
        return text.translate(self._shown)


def _risky_places(text: str, name: str, inside: bool) -> Iterator[int]:
    """Where an end of the text begins that could grow into the name, and 0 if the beginning could complete it."""
    for size in range(1, min(len(text), len(name) - 1) + 1):
        if text.endswith(name[:size]):
            yield len(text) - size
        if text.startswith(name[-size:]):
            yield 0
    if inside and text and text in name:
        yield 0
