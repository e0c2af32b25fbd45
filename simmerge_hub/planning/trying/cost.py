"""What trying costs, said before it starts and while it runs; its rate is measured on the way."""

import json
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.assets import assets_folder, replace_file
from simmerge_hub.planning.trying.trial import Workshop
from simmerge_hub.progress import Say
from simmerge_hub.signatures.probing.dosing.trial import count_tokens
from simmerge_hub.units import spell_bytes, spell_count, spell_seconds

SHARE_OF_LAST = 0.5
"""How much the last merge counts in the rate that is remembered."""


class Clock:
    """Says how long is left while merges are made; remembers seconds a byte for the next plan.

    Args:
        size: bytes of a merge.
        count: how many are to be made.
        say: told which is being made.
    """

    def __init__(self, size: int, count: int, say: Say) -> None:
        self.size, self.count, self._say = size, count, say
        self.done, self._began = 0, perf_counter()
        self._rate = read_rate()

    def begin(self, name: str) -> None:
        """Say which merge is made now, and about how long all that are left take."""
        self._began = perf_counter()
        left = self.seconds_left
        time = f", about {spell_seconds(left)} left" if left else ""
        self._say(f"trying {self.done + 1} of {self.count}: {name}{time}")

    def end(self) -> None:
        """Learn from the merge that is finished."""
        self.done += 1
        rate = (perf_counter() - self._began) / max(1, self.size)
        known = self._rate
        self._rate = rate if not known else known + SHARE_OF_LAST * (rate - known)
        with suppress(OSError, OutputError):  # a cache that is not ours to write
            replace_file(_rate_file(), json.dumps({"seconds_per_byte": self._rate}).encode())

    @property
    def seconds_left(self) -> float:
        """0 if nothing is known yet."""
        return self._rate * self.size * (self.count - self.done)


def state_cost(workshop: Workshop, clock: Clock, count: int, asked: int) -> str:
    """What trying will take, in a sentence without its full stop.

    Args:
        workshop: where merges are made.
        clock: of those that were not tried before.
        count: of all.
        asked: how many were asked for; one more is the safe one.
    """
    cached = count - clock.count
    known = f"; {cached} of them {'was' if cached == 1 else 'were'} tried before" if cached else ""
    merges = spell_count(count, "merge")
    which = f", the {asked} most promising and the safe one" if count > asked else ""
    time = clock.seconds_left
    how_long = f"about {spell_seconds(time)}" if time else "how long is said after the first"
    tokens = count_tokens(workshop.answers)
    return (
        f"trying {merges}{which}: each reads {tokens:,} tokens of prompts and experts' answers; "
        f"{spell_bytes(workshop.size)} of disk, one at a time; {how_long}{known}"
    )


def read_rate() -> float:
    """Seconds a byte of the merges that were tried here last; 0 if none was."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(_rate_file().read_text())["seconds_per_byte"])
    return 0.0


def _rate_file() -> Path:
    return assets_folder("tried", "rate") / "rate.json"
