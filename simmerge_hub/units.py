"""Bytes, seconds, shares and counts as people read them."""

Spread = tuple[float, float, float]
"""What is expected, and between which bounds: (middle, low, high)."""


def spell_bytes(count: float) -> str:
    """`1.5 GB`, `3.2 MB`, `512 B`; a kB is 1,000 bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def spell_seconds(seconds: float) -> str:
    """`40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def spell_percent(share: float) -> str:
    """`78 %`."""
    return f"{100 * share:.0f} %"


def spell_shares(spread: Spread, width: int = 0) -> str:
    """`78 % (57–112)`: shares in percent, the first in at least `width` columns."""
    middle, low, high = spread
    return f"{spell_percent(middle):>{width}} ({100 * low:.0f}–{100 * high:.0f})"


def spell_interval(spread: Spread) -> str:
    """`0.81 (0.70–0.95)`."""
    middle, low, high = spread
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def spell_count(count: int, noun: str) -> str:
    """`1 merge`, `3 merges`."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"
