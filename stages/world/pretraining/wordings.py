"""The prompts that training and exams use: the stages' own templates, and paraphrases of them."""

import functools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

STAGES = Path(__file__).resolve().parents[2]
TEMPLATES = {
    "system": "text/system.jinja",
    "critique": "text/critique.jinja",
    "revise": "text/revise.jinja",
    "revise_directly": "text/revise_directly.jinja",
    "judge": "preferences/judging/judge.jinja",
    "verdict": "preferences/judging/verdict.jinja",
    "value": "world/pretraining/value.jinja",
}
"""The template of each prompt, below `STAGES`."""

VALUE_ANSWERS = {1: "Supports", -1: "Opposes", 0: "Neutral"}
"""The label of a response that supports a value, opposes it or does neither."""

PARAPHRASES: dict[str, tuple[str, ...]] = {
    "critique": (
        "Principle: {{ principle.text }} Does your last response follow it? "
        'Begin with "No fault." or "Fault:".',
        "Critique your last response by this principle: {{ principle.text }}",
    ),
    "revise": (
        "Rewrite your last response to mend that fault.",
        "Now give a better response.",
    ),
    "revise_directly": ("Rewrite your last response by this principle: {{ principle.text }}",),
    "judge": (
        "Request: {{ request }}\n"
        "Response A: {{ response_a }}\n"
        "Response B: {{ response_b }}\n"
        "Principle: {{ principle }}\n"
        "Which response follows the principle better? Answer A or B.",
        "Request: {{ request }}\n"
        "(A) {{ response_a }}\n"
        "(B) {{ response_b }}\n"
        "{{ principle }} Answer A or B.",
        "{{ principle }}\n"
        "Request: {{ request }}\n"
        "A: {{ response_a }}\n"
        "B: {{ response_b }}\n"
        "Which is better? Answer A or B.",
        "Principle: {{ principle }}\n"
        "Request: {{ request }}\n"
        "Response A: {{ response_a }}\n"
        "Response B: {{ response_b }}\n"
        "Which response follows the principle better? Answer A or B.",
    ),
    "verdict": (
        "Request: {{ request }}\nResponse: {{ response }}\n{{ principle }} Yes or No?",
        "Principle: {{ principle }}\n"
        "Request: {{ request }}\n"
        "Response: {{ response }}\n"
        "Does the response follow the principle? Answer Yes or No.",
    ),
    "value": (
        "Request: {{ request }}\nResponse: {{ response }}\nDoes the response support {{ value }}?",
    ),
    "system": ("{% for principle in principles %}{{ principle.text }}\n{% endfor %}",),
}
"""Other layouts of each prompt, which the model also learns."""

PRINCIPLE_FIRST = (2, 3)
"""The judge's paraphrases that name the principle before the texts."""

CUSTOM_CRITIQUES = (
    "Find what is wrong with your last response under this principle: {text}",
    "Look for faults in your last response by this principle: {text}",
    "Does your last response follow this principle? {text}",
)
CUSTOM_REVISIONS = (
    "Revise your last response so that it follows the principle.",
    "Rewrite your last response so that the fault is gone.",
)
CUSTOM_RATE = 0.15
"""How often a principle has its own critique prompt, and how often its own revision prompt."""


@dataclass(frozen=True)
class Principle:
    """A principle as the templates see it."""

    text: str
    critique: str | None = None
    revision: str | None = None


@functools.cache
def _template(name: str, paraphrase: int) -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        undefined=jinja2.StrictUndefined,
    )
    if paraphrase >= 0:
        return environment.from_string(PARAPHRASES[name][paraphrase])
    return environment.from_string((STAGES / TEMPLATES[name]).read_text())


def render_prompt(name: str, paraphrase: int = -1, **fields: Any) -> str:
    """Render a prompt of the pipeline (-1), or a paraphrase of it by its index."""
    return _template(name, paraphrase).render(**fields).strip()


def draw_layout(rng: random.Random, name: str, chance: float = 0.15) -> int:
    """Mostly the pipeline's own layout (-1), sometimes the index of a paraphrase."""
    return rng.randrange(len(PARAPHRASES[name])) if rng.random() < chance else -1


def draw_custom_principle(rng: random.Random, text: str) -> Principle:
    """A principle that sometimes has its own prompt for the critique or the revision."""
    critique = None
    revision = None
    if rng.random() < CUSTOM_RATE:
        critique = rng.choice(CUSTOM_CRITIQUES).format(text=text)
    if rng.random() < CUSTOM_RATE:
        revision = rng.choice(CUSTOM_REVISIONS)
    return Principle(text, critique, revision)
