"""What one side cannot say in the other's words: collected, so that one error names all of it."""

from dataclasses import dataclass, field

from simmerge_hub.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Refusals:
    """Keys that have no counterpart, each with what to do instead.

    `sentence` begins the message; the keys follow it.
    """

    sentence: str
    advice: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, advice: str) -> None:
        """Note a key; the first advice for it stays."""
        self.advice.setdefault(key, advice)

    def settle(self) -> None:
        """RecipeError with every key in the message and its advice in the hint, if there is any."""
        if self.advice:
            raise RecipeError(
                f"{self.sentence}: {', '.join(self.advice)}",
                hint="; ".join(f"{key}: {advice}" for key, advice in self.advice.items()),
            )
