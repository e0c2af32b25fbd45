"""What nano models answer: the quickest way for a person to see that a merge works."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simmerge_hub.zoo.tasks import task

ANSWER_TOKENS = 16
"""Tokens of an answer at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt of a task that no model was trained on, and its right answer."""

    task: str
    prompt: str
    answer: str


def questions(name: str, path: str, count: int, *, seed: int = 0) -> list[Question]:
    """Evaluation prompts of the task `path` ("domain/variant"), called `name`."""
    domain, _, variant = path.partition("/")
    examples = task(domain, variant).examples("evaluation", count, seed=seed)
    return [Question(task=name, prompt=each.prompt, answer=each.answer) for each in examples]


def answers(models: Sequence[str], questions: Sequence[Question]) -> Mapping[str, list[str]]:
    """Model -> its greedy answer to every question, loaded as any user would load it.

    Args:
        models: full models, as `from_pretrained` takes them.
        questions: asked in this order.
    """
    return {model: _answers(model, questions) for model in models}


def _answers(model: str, questions: Sequence[Question]) -> list[str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, trust_remote_code=False)
    texts: list[str] = []
    for asked in questions:
        inputs = tokenizer(asked.prompt, return_tensors="pt")
        output = loaded.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        text = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        texts.append(text.partition(".")[0] + "." if "." in text else text)
    return texts
