"""What long work is handed to say how it goes; who hands it in decides where that is shown."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""
Say = Callable[[str], None]
"""Called with what is being done now, for people to read."""
Note = Callable[[str], None]
"""Called with a line that people should see and keep."""
