"""A merge in words: its recipe in one line, as papers call operators, and how it was chosen."""

from simmerge_hub.errors import ObjectiveError
from simmerge_hub.operators import Arm
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.tasks import Task
from simmerge_hub.planning.choice import model_alone
from simmerge_hub.planning.verdict import LOST
from simmerge_hub.planning.words.names import name_arm, name_operator, shorten
from simmerge_hub.recipe import Recipe, Step
from simmerge_hub.recipe.why import MEANINGS, Why, WhyTask

FAR = "no held-out pair was this far from training"
BY_BANDIT = "a bandit chose the operator, to learn from it"


def name_recipe(recipe: Recipe) -> str:
    """How a merge was made; models by the last part of their names where that tells them apart."""
    if recipe.slices:
        operators = " and ".join(name_operator(name, {}) for name in recipe.operators)
        return f"{operators}, in {len(recipe.slices)} slices of layers"
    steps = {step.name: step for step in recipe.steps[:-1]}
    short = shorten([source.name for source in recipe.sources])

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
    if count and not why.tried and _is_behind(why):
        return (
            f"the safe one of {count} ways to merge; another seems better, by too little to rely on"
        )
    of = f", of {count} ways to merge" if count else ", with a margin for what is uncertain"
    return f"expected to have {why.objective.description}{of}{seen}"


def _is_behind(why: Why) -> bool:
    """Whether a merge of two models is expected to be better than the choice: a lead that is too
    small to rely on is not followed."""
    value = {each.merge: each.utility[0] for each in why.predictions if not each.missing}
    return why.choice in value and max(value.values()) > value[why.choice]


def speak_against(why: Why, recipe: Recipe) -> str:
    """Why a plan says rather not to merge, as `plan` says it; "" where nothing speaks against it.

    A skill is expected to be lost, or a model alone to be as good. Where the ranking is not
    followed nobody knows.
    """
    best = next((each for each in why.predictions if each.merge == why.choice), None)
    if best is None or why.status == "abstained":
        return ""
    merged = {source.name for source in recipe.models}
    aim = why.objective
    objective = Objective(worst=aim.worst, weights=aim.weights, keep=aim.keep)
    known = {each.task: _relative(each) for each in why.tasks}
    try:
        objective.check(known)
    except ObjectiveError:  # a record of a stranger's, whose objective says nothing
        return ""
    short = shorten([*merged, *(each.expert for each in why.tasks)])
    for model in sorted(merged | {each.expert for each in why.tasks} if len(known) > 1 else ()):
        own = model_alone(model, known).spreads()
        if not objective.missing(own) and objective.value(own)[0] >= best.utility[0]:
            return f"{short(model)} alone is expected to be at least as good as this merge"
    gone = [e.task for e in why.tasks if e.expert in merged and best.tasks[e.task][0] < LOST]
    return f"keep them apart: merging is expected to lose {', '.join(gone)}" if gone else ""


def _relative(task: WhyTask) -> dict[str, float]:
    """Model -> its score over the expert's, where cards state them."""
    return Task(name=task.task, expert=task.expert, probes=None, scores=task.scores).relative


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
