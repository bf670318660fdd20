"""Fixed words of the panel: what scores mean, what must be said beside a map, what empty views teach."""

from __future__ import annotations

NOT_AN_EXPLANATION = "Attention shows one mechanism; it is no explanation of the answer."
SCORE_HELP = {
    "entropy": "nats, mean over queries: how widely a head spreads its weight",
    "evenness": "entropy over that of an even spread: 1 is even, 0 looks at a single key",
    "distance": "mean distance, in tokens, between a query and what it looks at",
    "sink": "mean weight on the first token (arXiv 2309.17453)",
    "previous": "mean weight on the token just before",
    "itself": "mean weight on the own token",
    "induction": "mean weight on tokens that followed earlier copies of the query's token (arXiv 2209.11895)",
    "duplicate": "mean weight on earlier copies of the query's token",
}
TEACH = (
    "See what every head of every layer looks at: all of them as small pictures, one of them large, its words shaded by the weight they "
    "get, lines between tokens, patches and prompt words laid over pictures."
)
EMPTY_MAP = "The map of the selected head appears here."
EMPTY_ARCS = "Lines from each token to those it looks at appear here."
EMPTY_EDIT = (
    "Right-click a head and remove or scale it: the text, the likeliest next tokens and the loss stand here, before and after the change."
)
EMPTY_TOKEN = "Click a token: what it looks at, and what every layer would say after it, stand here."
EMPTY_CHANGE = "No head is changed. Right-click a head in the grid to remove it or to scale what it writes."
KEY_HELP = [("Ctrl+Enter", "Look"), ("Ctrl+D", "Turn round: looks at, is looked at by"), ("Ctrl+L", "Logarithmic colours")]
