"""How large everyday things are, by noun: to notice a mesh in another unit, and which way it stands."""

import re
from dataclasses import dataclass
from typing import Literal

Posture = Literal["tall", "flat"]


@dataclass(frozen=True)
class UsualSize:
    """The longest side of such things, and how they stand by themselves."""

    noun: str
    low: float
    """Metres."""
    high: float
    posture: Posture | None = None
    """Higher than deep, flatter than deep, or neither."""

    @property
    def middle(self) -> float:
        return (self.low * self.high) ** 0.5


_ROWS: dict[str, tuple[float, float, Posture | None]] = {
    "chair": (0.75, 1.1, "tall"), "armchair": (0.8, 1.2, None), "stool": (0.4, 0.9, "tall"),
    "bench": (0.9, 2.2, None), "sofa": (1.2, 3.0, None), "couch": (1.2, 3.0, None),
    "table": (0.5, 2.6, None), "desk": (1.0, 2.2, None), "shelf": (0.4, 2.2, None),
    "bed": (1.8, 2.3, None), "lamp": (0.25, 1.9, "tall"), "ladder": (1.0, 4.0, "tall"),
    "barbell": (1.2, 2.3, None), "dumbbell": (0.2, 0.5, None), "kettlebell": (0.15, 0.35, "tall"),
    "broom": (0.8, 1.7, None), "mop": (1.0, 1.7, None), "rake": (1.0, 1.9, None),
    "shovel": (0.7, 1.6, None), "umbrella": (0.5, 1.1, None), "cane": (0.7, 1.0, None),
    "suitcase": (0.45, 0.9, "tall"), "backpack": (0.35, 0.7, "tall"), "basket": (0.2, 0.8, None),
    "skateboard": (0.55, 0.95, "flat"), "longboard": (0.8, 1.3, "flat"),
    "surfboard": (1.6, 3.2, None), "snowboard": (1.2, 1.8, None), "ski": (1.2, 2.1, None),
    "football": (0.2, 0.3, None), "basketball": (0.22, 0.27, None), "volleyball": (0.19, 0.24, None),
    "bicycle": (1.4, 2.0, None), "bike": (1.4, 2.2, None), "scooter": (0.7, 1.9, None),
    "cup": (0.06, 0.18, None), "mug": (0.07, 0.16, None), "bottle": (0.12, 0.4, "tall"),
    "teapot": (0.12, 0.35, None), "kettle": (0.15, 0.35, None), "bowl": (0.08, 0.4, "flat"),
    "plate": (0.12, 0.36, "flat"), "pan": (0.25, 0.6, "flat"), "bucket": (0.2, 0.5, None),
    "guitar": (0.75, 1.15, None), "ukulele": (0.45, 0.75, None), "violin": (0.45, 0.65, None),
    "hammer": (0.2, 0.5, None), "drill": (0.12, 0.4, None), "axe": (0.3, 0.95, None),
    "screwdriver": (0.1, 0.4, None), "knife": (0.12, 0.45, None), "sword": (0.6, 1.4, None),
    "racket": (0.4, 0.75, None), "bat": (0.6, 1.1, None), "helmet": (0.2, 0.4, None),
    "laptop": (0.25, 0.45, "flat"), "keyboard": (0.25, 0.55, "flat"), "phone": (0.1, 0.2, None),
    "book": (0.12, 0.4, None), "monitor": (0.35, 1.0, "tall"), "toothbrush": (0.14, 0.25, None),
}  # fmt: skip
USUAL_SIZES = {noun: UsualSize(noun, *row) for noun, row in _ROWS.items()}
HANDLED = (0.03, 4.0)
"""Longest sides of what people handle, metres."""
TOLERANCE = 1.25
"""Things this much beyond the usual are still taken without a word."""


def usual_size_of(text: str) -> UsualSize | None:
    """By the noun that a name or sentence holds; None where it holds none, or several."""
    nouns = {noun: size for noun in words_of(text) if (size := USUAL_SIZES.get(noun))}
    return next(iter(nouns.values())) if len(nouns) == 1 else None


def words_of(text: str) -> list[str]:
    """Lower-case words, plurals also in the singular; "OfficeChair_01" holds "office" and "chair"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    words = re.findall(r"[a-z]+", spaced.lower())
    return list(dict.fromkeys([*words, *(word.removesuffix("s") for word in words)]))


def handling_remark(longest: float) -> str | None:
    """As `size_remark`, of something whose noun is not known."""
    if HANDLED[0] <= longest <= HANDLED[1]:
        return None
    low, high = HANDLED
    factors = (10.0, 100.0, 1000.0) if longest < low else (0.01, 0.001, 0.1)
    factor = next((f for f in factors if low <= longest * f <= high), factors[-1])
    return (
        f"its longest side is {longest:.3g} m, and people mostly handle things of {100 * low:g} cm to "
        f"{high:g} m; if that is not meant, scale={factor:g} (times the one given)"
    )


def size_remark(longest: float, usual: UsualSize) -> str | None:
    """What is unusual about a longest side in metres, with the scale that mends it; None for nothing."""
    if usual.low / TOLERANCE <= longest <= usual.high * TOLERANCE:
        return None
    factors = (0.001, 0.01, 0.0254, 0.3048, 10.0, 100.0, 1000.0)
    fitting = [f for f in factors if usual.low <= longest * f <= usual.high]
    factor = fitting[0] if fitting else usual.middle / longest
    return (
        f"a {usual.noun} usually measures {usual.low:g} to {usual.high:g} m along its longest side, "
        f"this one {longest:.3g} m; if that is not meant, scale={factor:.3g} (times the one given)"
    )
