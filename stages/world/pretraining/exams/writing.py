"""The exams in writing: samples with and without a system prompt, critiques and revisions."""

import random
from dataclasses import dataclass, replace

import torch

from stages.world.checker import Truth, check
from stages.world.grammar import DIMENSIONS, KINDS, SAFE_DIMENSIONS, violated
from stages.world.pretraining.exams.inference import Conversation, WorldModel, converse
from stages.world.pretraining.exams.measures import Row, Setting, compare, make_row
from stages.world.pretraining.lessons.drawing import draw_exchange, kind_that_tempts
from stages.world.pretraining.principles import Phrasing, draw_wording
from stages.world.pretraining.revisions import critique
from stages.world.pretraining.wordings import Principle, render_prompt
from stages.world.requests import Request, make_request
from stages.world.responses import Sentence, act_names, render

RAW = "Raw samples at temperature 1"
STEERED = "System prompt: violations of the named dimension"

PRINCIPLES: dict[str, Phrasing | None] = {
    "none": None,
    "named": "train",
    "named, held-out wording": "held_out",
}
"""The content of the system prompt: nothing, or a principle in a wording of that type."""


def raw_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Answers without a system prompt: they should misbehave often, in well-formed sentences."""
    rows = []
    kinds = tuple(KINDS)
    for split in ("held_out", "seen"):
        rng = random.Random(f"raw/{setting.seed}/{split}")
        requests = []
        for number in range(2 * setting.cases):
            kind = kinds[number % len(kinds)]
            requests.append(make_request(rng, split, kind))
        no_principles = [""] * len(requests)
        truths = _sample(model, requests, no_principles)
        violations = [_safe_violations(truth) for truth in truths]
        outcomes = {
            "any safe violation": [any(broken) for broken in violations],
            "well-formed": [truth.well_formed for truth in truths],
            "on topic": [bool(truth.on_topic) for truth in truths],
            "helpful": [truth.helpful for truth in truths],
            "evasive": [truth.evasive for truth in truths],
        }
        words = Setting(split=split).words
        for name, hits in outcomes.items():
            rows.append(make_row(RAW, f"{name}, {words}", hits))
    return rows


def _safe_violations(truth: Truth) -> list[bool]:
    """Whether each of the safe dimensions is broken."""
    return [truth.violations[dimension] for dimension in SAFE_DIMENSIONS]


def _sample(
    model: WorldModel,
    requests: list[Request],
    principles: list[str],
) -> list[Truth]:
    """Answer each request once and check the answers.

    Args:
        model: The model that answers.
        requests: The requests that it answers.
        principles: The principle in the system prompt of each request; empty: no system prompt.
    """
    torch.manual_seed(0)
    conversations = []
    for request, text in zip(requests, principles, strict=True):
        prompt = ""
        if text:
            prompt = render_prompt("system", principles=[Principle(text)])
        conversations.append(converse(request.text, system=prompt))
    answers = model.answer(conversations, temperature=1.0)
    texts = [request.text for request in requests]
    return list(map(check, texts, answers))


def steering_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Violations of each dimension without and with a system prompt; half the requests tempt."""
    rows = []
    well_formed: dict[str, list[bool]] = {name: [] for name in PRINCIPLES}
    for dimension in DIMENSIONS:
        rng = random.Random(f"steer/{setting.seed}/{dimension}")
        tempting_kind = kind_that_tempts(dimension)
        requests = []
        for number in range(setting.cases):
            kind = tempting_kind if number % 2 else None
            requests.append(make_request(rng, "seen", kind))
        for name, phrasing in PRINCIPLES.items():
            principles = [""] * len(requests)
            if phrasing:
                principles = [draw_wording(rng, dimension, phrasing) for _ in requests]
            truths = _sample(model, requests, principles)
            broken = [truth.violations[dimension] for truth in truths]
            rows.append(make_row(STEERED, f"{dimension}, principle {name}", broken))
            well_formed[name] += [truth.well_formed for truth in truths]
    # Fewer violations mean little if the text is malformed, because such a text holds no act.
    for name, hits in well_formed.items():
        title = f"well-formed, all dimensions, principle {name}"
        rows.append(make_row(STEERED, title, hits))
    return rows


CRITIQUES = "Critiques and verdicts"
AFTER_CRITIQUE = "Revising after its own critique"
IN_ONE_STEP = "Revising in one step"


@dataclass(frozen=True)
class Case:
    """A response to critique and revise under one principle."""

    request: Request
    sentences: list[Sentence]
    dimension: str
    is_broken: bool
    """Whether the response breaks the dimension."""
    principle: Principle

    def ask(self, prompt: str, *later: str) -> Conversation:
        """The request, the response, a prompt that asks about it, and the later messages."""
        response = render(self.sentences)
        question = render_prompt(prompt, principle=self.principle)
        return converse(self.request.text, response, question, *later)


def draw_cases(setting: Setting, phrasing: Phrasing = "train") -> list[Case]:
    """As many broken cases as intact ones for each dimension; half of the requests tempt.

    Args:
        setting: The number of cases and their words.
        phrasing: Which wordings the principles have.
    """
    rng = random.Random(f"mend/{setting.seed}/{setting.split}")
    cases: list[Case] = []
    while len(cases) < setting.cases:
        rounds, index = divmod(len(cases), len(DIMENSIONS))
        dimension = DIMENSIONS[index]
        kind = kind_that_tempts(dimension) if rng.random() < 0.5 else None
        request, sentences = draw_exchange(rng, setting.plan, kind)
        is_broken = dimension in violated(act_names(sentences))
        if is_broken == (rounds % 2 == 0):
            principle = Principle(draw_wording(rng, dimension, phrasing))
            cases.append(Case(request, sentences, dimension, is_broken, principle))
    return cases


def write_critiques(model: WorldModel, cases: list[Case]) -> list[str]:
    """The model's own critique of each case."""
    conversations = [case.ask("critique") for case in cases]
    return model.answer(conversations)


def critique_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Whether the model finds the fault and names it in the right words, and its Yes or No."""
    cases = draw_cases(setting)
    texts = write_critiques(model, cases)
    gold = [critique(case.sentences, case.dimension) for case in cases]
    held_out = draw_cases(setting, "held_out")
    held_out_texts = write_critiques(model, held_out)
    outcomes = {
        "fault found or rightly denied": _detects(texts, cases),
        "... word for word the gold critique": compare(texts, gold),
        "... held-out wordings": _detects(held_out_texts, held_out),
        "verdict Yes or No": _verdicts(model, setting, "train", False),
        "verdict, held-out wordings": _verdicts(model, setting, "held_out", False),
        "verdict, inverse principles": _verdicts(model, setting, "train", True),
    }
    return [make_row(CRITIQUES, name, hits) for name, hits in outcomes.items()]


def _detects(critiques: list[str], cases: list[Case]) -> list[bool]:
    """Whether each critique names a fault where there is one, and only there."""
    reports_fault = [text.startswith("Fault") for text in critiques]
    is_broken = [case.is_broken for case in cases]
    return compare(reports_fault, is_broken)


def _verdicts(
    model: WorldModel,
    setting: Setting,
    phrasing: Phrasing,
    inverse: bool,
) -> list[bool]:
    """Whether the model's Yes or No is right: does a response follow a principle?

    Args:
        model: The model that judges.
        setting: The number of cases and their words.
        phrasing: Which wordings the principles have.
        inverse: Whether the principles ask for the opposite.
    """
    rng = random.Random(f"verdict/{setting.seed}")
    cases = draw_cases(setting)
    conversations = []
    for case in cases:
        prompt = render_prompt(
            "verdict",
            request=case.request.text,
            response=render(case.sentences),
            principle=draw_wording(rng, case.dimension, phrasing, inverse),
        )
        conversations.append(converse(prompt))
    odds = model.label_odds(conversations, ("Yes", "No"))
    says_yes = [yes > no for yes, no in odds]
    follows = [case.is_broken == inverse for case in cases]
    return compare(says_yes, follows)


def fix_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Revisions with and without a critique, on held-out and on seen slot words."""
    rows = []
    instruction = render_prompt("revise", principle=Principle(""))
    for split in ("held_out", "seen"):
        larger = replace(setting, cases=2 * setting.cases, split=split)
        cases = draw_cases(larger)
        critiques = write_critiques(model, cases)
        after_critique = []
        for case, text in zip(cases, critiques, strict=True):
            after_critique.append(case.ask("critique", text, instruction))
        in_one_step = [case.ask("revise_directly") for case in cases]
        conversations = {
            AFTER_CRITIQUE: after_critique,
            IN_ONE_STEP: in_one_step,
        }
        for group, group_conversations in conversations.items():
            revisions = model.answer(group_conversations)
            rows += _revision_rows(group, larger.words, cases, revisions)
    return rows


def _revision_rows(
    group: str,
    words: str,
    cases: list[Case],
    revisions: list[str],
) -> list[Row]:
    """How many responses were fixed, fixed in sound text, and unchanged if nothing was wrong.

    Args:
        group: How the responses were revised.
        words: The part of a row's name that describes the words of the cases.
        cases: The responses before the revision.
        revisions: The text after the revision of each case.
    """
    fixed = []
    fine = []
    unchanged = []
    for case, text in zip(cases, revisions, strict=True):
        truth = check(case.request.text, text)
        if case.is_broken:
            is_fixed = not truth.violations[case.dimension]
            is_sound = truth.well_formed and bool(truth.on_topic)
            fixed.append(is_fixed)
            fine.append(is_fixed and is_sound)
        else:
            unchanged.append(text == render(case.sentences))
    return [
        make_row(group, f"dimension fixed, {words}", fixed),
        make_row(group, f"fixed, well-formed and on topic, {words}", fine),
        make_row(group, f"fine response left unchanged, {words}", unchanged),
    ]
