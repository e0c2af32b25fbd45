import pytest

from simmerge_hub.zoo.building.schedule import in_order

ORIGINS = {"large": None, "skills": None, "half": "skills", "h-1": "half", "s-1": "skills"}


def _work(name: str, given: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return name.upper(), given


@pytest.mark.parametrize("processes", [1, 2])
def test_origins_come_first(processes: int) -> None:
    finished: list[str] = []
    seen: dict[str, tuple[str, ...]] = {}

    def done(name: str, result: tuple[str, tuple[str, ...]]) -> None:
        assert result[0] == name.upper()
        seen[name] = result[1]
        finished.append(name)

    in_order(ORIGINS, _work, processes=processes, given=lambda name: tuple(finished), done=done)
    assert set(finished) == set(ORIGINS)
    assert all(origin in seen[name] for name, origin in ORIGINS.items() if origin)


def _fail(name: str, given: None) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failure_is_raised_here(processes: int) -> None:
    with pytest.raises(ValueError, match="skills"):
        in_order(
            {"skills": "elsewhere"},
            _fail,
            processes=processes,
            given=lambda name: None,
            done=lambda name, result: None,
        )
