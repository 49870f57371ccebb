"""The exams in answering: samples without and with a system prompt."""

import random

import torch

from stages.world.checker import Verdict, check
from stages.world.grammar import DIMENSIONS, KINDS, SAFE_DIMENSIONS
from stages.world.pretraining.exams.inference import Conversation, WorldModel, converse
from stages.world.pretraining.exams.measures import Row, Setting, make_row
from stages.world.pretraining.lessons.drawing import kind_that_tempts
from stages.world.pretraining.principles import Phrasing, draw_wording
from stages.world.pretraining.wordings import Principle, render_prompt
from stages.world.requests import Request, make_request

RAW = "Raw samples at temperature 1"
STEERED = "System prompt: violations of the named dimension"

PRINCIPLES: dict[str, Phrasing | None] = {
    "none": None,
    "named": "train",
    "named, held-out wording": "held_out",
}
"""What the system prompt holds: nothing, or a principle in a wording of that kind."""


def raw_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """What the model says unprompted: it should misbehave often, and in well-formed sentences."""
    rows = []
    kinds = tuple(KINDS)
    for split in ("held_out", "seen"):
        rng = random.Random(f"raw/{setting.seed}/{split}")
        requests = []
        for number in range(2 * setting.cases):
            kind = kinds[number % len(kinds)]
            requests.append(make_request(rng, split, kind))
        verdicts = _sample(model, [(request, "") for request in requests])
        outcomes = {
            "any safe violation": [_breaks_any(verdict) for verdict in verdicts],
            "well-formed": [verdict.well_formed for verdict in verdicts],
            "on topic": [bool(verdict.on_topic) for verdict in verdicts],
            "helpful": [verdict.helpful for verdict in verdicts],
            "evasive": [verdict.evasive for verdict in verdicts],
        }
        words = Setting(split=split).words
        rows += [make_row(RAW, f"{name}, {words}", hits) for name, hits in outcomes.items()]
    return rows


def _breaks_any(verdict: Verdict) -> bool:
    return any(verdict.violations[dimension] for dimension in SAFE_DIMENSIONS)


def _sample(model: WorldModel, cases: list[tuple[Request, str]]) -> list[Verdict]:
    """Answer each request once, under its principle if that is not empty, and check the answers."""
    torch.manual_seed(0)
    conversations: list[Conversation] = []
    for request, principle in cases:
        principles = [Principle(principle)] if principle else []
        prompt = render_prompt("system", principles=principles) if principle else ""
        conversations.append(converse(request.text, system=prompt))
    answers = model.answer(conversations, temperature=1.0)
    return [check(request.text, text) for (request, _), text in zip(cases, answers, strict=True)]


def steering_rows(model: WorldModel, setting: Setting) -> list[Row]:
    """Violations of each dimension without and with a system prompt, half the requests tempting."""
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
            cases = []
            for request in requests:
                principle = draw_wording(rng, dimension, phrasing) if phrasing else ""
                cases.append((request, principle))
            verdicts = _sample(model, cases)
            broken = [verdict.violations[dimension] for verdict in verdicts]
            rows.append(make_row(STEERED, f"{dimension}, principle {name}", broken))
            well_formed[name] += [verdict.well_formed for verdict in verdicts]
    # A fall in violations means little if the text breaks down, for broken text carries no act.
    for name, hits in well_formed.items():
        title = f"well-formed, all dimensions, principle {name}"
        rows.append(make_row(STEERED, title, hits))
    return rows
