"""What the text of a compiled program says of it."""

from typing import Any

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
    "collective-broadcast",
)


def collectives_in(compiled: Any) -> list[str]:
    """Kinds of communication between devices."""
    text = compiled.as_text()
    return [kind for kind in COLLECTIVES if f"{kind}(" in text or f"{kind}-start(" in text]
