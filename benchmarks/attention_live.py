"""What does it cost to follow a reply's attention while it is written? Answers of SmolLM2, the Attention panel in front or not there.

Timed from the first round that is shown to the end of the run, so that everything between two tokens counts: the reading of what is new,
maps, profiles, a window that paints. Both in turn, the same question and the same greedy text.
"""

from __future__ import annotations

import argparse
import time

import report
import window

QUESTION = "Write a long story about a lighthouse keeper and a whale."
PAUSE_S = 0.5


def seconds(chat, tokens: int, *, follow: bool) -> float:
    """From the first words to the end of a reply."""
    main_window, at = chat.window(), []

    def note(*_told) -> None:
        at.append(time.perf_counter())

    main_window.show_panel("chat")
    window.let_run(PAUSE_S)
    chat.runs.grew.connect(note)
    chat.runs.ended.connect(note)
    try:
        window.write_reply(chat, QUESTION, follow=follow, drafter="none", max_new_tokens=tokens)
    finally:
        chat.runs.grew.disconnect(note)
        chat.runs.ended.disconnect(note)
    if follow:
        window.wait_until_idle(chat.engine)  # the small maps of all heads, which come after the end
    return at[-1] - at[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=256, help="length of the replies")
    parser.add_argument("--repeat", type=int, default=5, help="pairs")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    options = parser.parse_args()
    with window.chat_panel(options.threads) as chat:
        report.heading(f"Following the attention of replies of {options.tokens} tokens by SmolLM2", chat.engine.last_status.threads)
        seconds(chat, 32, follow=True)  # the panel is made, and everything used for the first time
        followed, alone = report.alternate(
            lambda: seconds(chat, options.tokens, follow=True), lambda: seconds(chat, options.tokens, follow=False), options.repeat
        )
        print(f"followed  {report.spread([1000 * s / options.tokens for s in followed], 'ms a token')}")
        print(f"alone     {report.spread([1000 * s / options.tokens for s in alone], 'ms a token')}")
        print(f"following {report.ratio(followed, alone)}")


if __name__ == "__main__":
    main()
