"""A merge in words: its recipe in one line, as papers call operators, and how it was chosen."""

from simmerge_hub.operators import Arm
from simmerge_hub.planning.words.names import name_arm, name_operator, shorten
from simmerge_hub.recipe import Recipe, Step
from simmerge_hub.recipe.why import MEANINGS, Why

FAR = "no held-out pair was this far from training"
BY_BANDIT = "a bandit chose the operator, to learn from it"


def name_recipe(recipe: Recipe) -> str:
    """How a merge was made; models by the last part of their names where that tells them apart."""
    if recipe.slices:
        operators = " and ".join(name_operator(name, {}) for name in recipe.operators)
        return f"{operators}, in {len(recipe.slices)} slices of layers"
    steps = {step.name: step for step in recipe.steps[:-1]}
    short = shorten([source.name for source in recipe.models])

    def inner(name: str) -> str:
        return f"({describe(steps[name])})" if name in steps else short(name)

    def describe(step: Step) -> str:
        names = [inner(name) for name in step.models]
        weights = step.parameters.get("weights")
        stated = weights if isinstance(weights, list | tuple) else ()
        plain = len(stated) == len(names) and all(isinstance(w, int | float) for w in stated)
        if plain and sum(stated):
            arm = Arm(operator=step.operator, parameters=step.parameters)
            return name_arm(arm, names)
        return f"{name_operator(step.operator, step.parameters)} of {' + '.join(names)}"

    return describe(recipe.steps[-1])


def explain_choice(why: Why) -> str:
    """What was chosen of how many, and by what; of merges of many models only the first are kept,
    so how many there were is not said."""
    count = 0 if why.tree else len(why.predictions)
    if why.chosen_by:
        among = f"among {count} ways to merge, " if count else ""
        return f"the choice of a bandit {among}to learn from it"
    if why.status == "abstained" and why.choice not in why.tried:
        return f"the safe one of {count} ways to merge" if count else "the safe way to merge them"
    seen = ", some of them made and run" if why.tried else ""
    of = f", of {count} ways to merge" if count else ", with a margin for what is uncertain"
    return f"expected to have {why.objective.description}{of}{seen}"


def explain_status(why: Why) -> str:
    """What the status says of this plan: a bandit, or merges that were tried, may have chosen."""
    if why.status == "abstained" and why.chosen_by:
        return f"{FAR}; the ranking is not followed, and {BY_BANDIT}"
    if why.status == "abstained" and why.choice in why.tried:
        return (
            f"{FAR}; it was chosen by what was seen of merges that were made and run, though not "
            "on every task"
        )
    return MEANINGS[why.status] + (f"; {BY_BANDIT}" if why.chosen_by else "")
