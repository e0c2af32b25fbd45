"""Who has sent which object since the server was started.

A hash is no permission: who merely knows the SHA-256 of somebody's file must not get the file by
committing it. Forgotten at a restart; what was not committed by then is sent again.
"""


class Uploads:
    """(user, name of a blob or xorb) pairs, in memory."""

    def __init__(self) -> None:
        self._sent: set[tuple[str, str]] = set()

    def add(self, user: str, name: str) -> None:
        """A user has sent all bytes of an object."""
        self._sent.add((user, name))

    def __contains__(self, pair: tuple[str, str]) -> bool:
        return pair in self._sent
