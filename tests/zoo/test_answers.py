"""What models are asked in the demo, and how their answers are read."""

from simmerge_hub.zoo.answers import answers, questions
from simmerge_hub.zoo.manifest import Manifest
from simmerge_hub.zoo.tasks import split_of


def test_questions_are_of_prompts_nobody_was_trained_on(nano: Manifest) -> None:
    asked = questions("code", nano.tasks["code"], 12)
    assert len({question.prompt for question in asked}) == 12
    assert {split_of(question.prompt) for question in asked} == {"evaluation"}
    assert {question.task for question in asked} == {"code"}
    assert asked == questions("code", nano.tasks["code"], 12)
    assert asked != questions("code", nano.tasks["code"], 12, seed=1)


def test_a_specialist_answers_its_task_and_its_base_does_not(nano: Manifest) -> None:
    asked = questions("code", nano.tasks["code"], 8)
    models = [str(nano.path(name)) for name in ("code", "base")]
    by_model = answers(models, asked)
    assert list(by_model) == models
    right = {
        model: sum(text == question.answer for text, question in zip(texts, asked, strict=True))
        for model, texts in by_model.items()
    }
    assert right[models[0]] >= 6  # it is right in nine of ten
    assert right[models[1]] < right[models[0]]
