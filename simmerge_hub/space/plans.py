"""What the upper part of the page does: search, plan, stop, and show the answer."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import gradio as gr

from simmerge_hub.documents import split_card
from simmerge_hub.errors import GatedRepo, RepoNotFound, SimmergeError
from simmerge_hub.merger import Preflight
from simmerge_hub.publishing.preview import preview_card
from simmerge_hub.signatures.map.similarities import map_models
from simmerge_hub.space import sections, work
from simmerge_hub.space.answer import Answer, Sight, answer, cost, lacks, look
from simmerge_hub.space.fields import NOBODY, Ask, Do, Told, Updates, expert_updates
from simmerge_hub.space.markup import join
from simmerge_hub.space.question import Question, read, read_query

PUBLIC_ONLY = (
    "check the spelling; only public models are read here: for others run the page on your own "
    "machine, simmerge-hub ui"
)
OWNERS_TURN = "this page cannot read from the Hub: tell whoever runs it"
LOG_IN = "hf auth login"
"""In hints for those who have a terminal."""
log = logging.getLogger(__name__)


class Plans:
    """The functions of the upper part; what belongs to a visitor is handed to them.

    Args:
        folders: whether folders of this machine may be named.
    """

    def __init__(self, asked: Ask, told: Told, done: Do, *, folders: bool) -> None:
        self.asked, self.told, self.done, self.folders = asked, told, done, folders
        self.answer = gr.State(None, time_to_live=4 * 3600)
        self.question = gr.State(None)
        self.filled = gr.State({})
        self.desk = work.Desk()

    def open(self, request: gr.Request) -> Updates:
        """Fill in what the page's address asks."""
        asked, question = self.asked, read_query(request.query_params)
        names = list(question.models)
        if not names and not question.collection:
            return {self.question: None}  # somebody may be typing already
        return {
            asked.models: gr.update(value=names, choices=names),
            asked.collection: question.collection,
            asked.base: question.base,
            asked.evidence: question.evidence,
            asked.aim: question.aim,
            self.question: question,
        }

    def plan_linked(self, request: gr.Request, *given: Any) -> Iterator[Updates]:
        """The plan that the page's address asks for, if it does."""
        if given[-1] is None:
            yield {self.asked.status: ""}
        else:
            yield from self.plan(request, *given)

    def plan(self, request: gr.Request, *given: Any) -> Iterator[Updates]:
        """The plan, with what is being done meanwhile.

        Args:
            request: whose it is.
            given: the fields of `Ask.values`, the experts, what stood in them, and the question
                before this one.
        """
        asked = self.asked
        try:
            question = self._read(given)
            question.check(folders=self.folders)
        except SimmergeError as error:
            yield self._fail(error)
            return
        stop = self.desk.begin(str(request.session_hash))
        yield self._begin(question)
        try:
            for step in work.run(partial(answer, question), stop):
                if isinstance(step, work.Doing):
                    yield {asked.status: sections.status_line(step.what, step.seconds).text}
                    continue
                yield self._decide(step.result)
                yield self._detail(step.result, cost(step.result.plan))
        except work.Stopped:  # who stopped it has said so, or began anew: the page is theirs
            return
        except SimmergeError as error:
            seen = look(question) if question.models else Sight()
            yield {**self._fail(error, seen), **self._ask_experts(question, seen)}
        except Exception as error:  # the page goes on, and the log has it all
            log.exception("planning %s", question)
            yield self._fail(_inside(error))

    def stop(self, request: gr.Request) -> Updates:
        """Stop the visitor's plan."""
        self.desk.stop(str(request.session_hash))
        return {**self._idle(), self.asked.status: sections.status_line("Stopped").text}

    def say_stopped(self, request: gr.Request) -> Updates:
        """Once more, after words that were on their way when it was stopped."""
        stopped = self.desk.stays_stopped(str(request.session_hash))
        return {self.asked.status: sections.status_line("Stopped").text if stopped else gr.update()}

    def draw(self, made: Answer | None) -> str:
        """The similarity map of the models of an answer."""
        if made is None:
            return ""
        references = made.question.models or made.names
        try:
            drawn = map_models(*references, base=made.question.base or None)
            return sections.map_picture(drawn).text
        except SimmergeError as error:
            return sections.error_box(self._here(error)).text
        except Exception as error:  # the page goes on, and the log has it all
            log.exception("drawing %s", references)
            return sections.error_box(_inside(error)).text

    def _read(self, given: tuple[Any, ...]) -> Question:
        """The fields -> a question; experts count where they were changed, or said before."""
        *fields, filled, before = given
        asked = read(*fields[: len(self.asked.values)])
        stand = dict(zip(filled, fields[len(self.asked.values) :], strict=False))
        said: Mapping[str, str] = before.experts if before else {}
        if filled and stand != filled:
            said = {task: model for task, model in stand.items() if model not in (None, NOBODY)}
        same = before is None or before.models == asked.models
        return read(*fields[: len(self.asked.values)], experts=said if same else {})

    def _begin(self, question: Question) -> Updates:
        asked = self.asked
        return {
            asked.plan: gr.update(interactive=False),
            asked.stop: gr.update(visible=True),
            asked.status: sections.status_line("starting", 0.0).text,
            self.told.whole: gr.update(visible=False),
            self.done.where: gr.update(visible=False),
            self.question: question,
            self.answer: None,
        }

    def _idle(self) -> Updates:
        return {
            self.asked.plan: gr.update(interactive=True),
            self.asked.stop: gr.update(visible=False),
        }

    def _fail(self, error: SimmergeError, seen: Sight | None = None) -> Updates:
        """The error, and below it which models fit; no plan is left that could be merged."""
        shown = self._here(error)
        said = join([sections.error_box(shown), sections.sight(seen or Sight())]).text
        hidden = gr.update(visible=False)
        return {
            **self._idle(),
            self.asked.status: said,
            self.told.whole: hidden,
            self.done.where: hidden,
            self.answer: None,
        }

    def _here(self, error: SimmergeError) -> SimmergeError:
        """The error as visitors may act on it: on a Space they do not log in."""
        if self.folders or LOG_IN not in error.hint:
            return error
        closed = isinstance(error, RepoNotFound | GatedRepo)
        return type(error)(str(error), hint=PUBLIC_ONLY if closed else OWNERS_TURN)

    def _ask_experts(self, question: Question, seen: Sight) -> Updates:
        """The table of experts to fill in, of the models that fit."""
        names = [model.name for model in seen.models if model.name not in seen.misfits]
        updates, filled = expert_updates(names, dict(question.experts), {})
        usable = len(names) > 1
        return {
            self.asked.skills: gr.update(visible=usable, open=usable),
            **(dict(zip(self.asked.experts, updates, strict=True)) if usable else {}),
            self.filled: filled if usable else {},
        }

    def _empty_details(self) -> Updates:
        told = self.told
        fields = (told.licences, told.costs, told.map, told.card, told.card_text, told.recipe)
        return dict.fromkeys(fields, "")

    def _decide(self, made: Answer) -> Updates:
        """The decision, as soon as it is there; what follows from it is still read."""
        plan, told = made.plan, self.told
        experts = {task.name: task.expert for task in plan.tasks}
        sources = {task.name: task.source for task in plan.tasks}
        updates, filled = expert_updates(list(made.names), experts, sources)
        judged = f"Planned: {len(plan.choices)} merges predicted, nothing evaluated"
        reading = sections.status_line("reading headers …").text
        return {
            self.asked.status: sections.status_line(judged).text,
            **self._idle(),
            **self._empty_details(),
            **dict.fromkeys((told.fits, told.licences, told.costs, told.map), reading),
            told.whole: gr.update(visible=True),
            told.decision: sections.decision(made).text,
            told.tree: sections.tree(plan).text,
            told.save: sections.recipe_link(plan.to_yaml(), made.question.query()).text,
            told.recipe: plan.to_yaml(),
            self.asked.skills: gr.update(visible=True, open=False),
            **dict(zip(self.asked.experts, updates, strict=True)),
            self.filled: filled,
            self.answer: made,
        }

    def _detail(self, made: Answer, preflight: Preflight | SimmergeError) -> Updates:
        """What follows from it: what fits, licence, cost, the card, and whether it runs here."""
        told, done = self.told, self.done
        drawing = sections.status_line("comparing every pair of the models …").text
        updates = {told.fits: sections.fits(made, preflight).text, told.map: drawing}
        shown = {done.where: gr.update(visible=True)} | _fresh(done)
        if isinstance(preflight, SimmergeError):
            return {**self._empty_details(), told.recipe: made.plan.to_yaml(), **updates, **shown}
        card = preview_card(preflight, made.plan.why())
        missing = lacks(preflight)
        why = f"This machine cannot run it: {'; '.join(missing)}." if missing else ""
        return {
            **updates,
            **shown,
            told.licences: sections.licences(preflight.layout.checkpoints).text,
            told.costs: sections.costs(preflight).text,
            told.card: split_card(card)[1],
            told.card_text: card,
            done.merge: gr.update(interactive=not missing),
            done.status: sections.status_line(why).text if why else "",
        }


def _fresh(done: Do) -> Updates:
    """Before a merge nothing can be pushed."""
    return {
        done.merge: gr.update(interactive=True),
        done.stop: gr.update(visible=False),
        done.repo: gr.update(interactive=False),
        done.push: gr.update(interactive=False),
        done.status: "",
        done.pushed: "",
    }


def _inside(error: Exception) -> SimmergeError:
    """A mistake of this program, for people."""
    return SimmergeError(
        f"something went wrong inside ({type(error).__name__})",
        hint="plan again; if it stays, report it with the names of the models",
    )
