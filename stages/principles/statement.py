"""How a principle is stated with its parts: examples, reason and authority.

Comes in: a principle as its file holds it. Goes out: the same, with all that a model is to read in
`text` and in `opposite`: so critics, judges, reward models and system turns read one wording, and a
principle without these parts reads as before.
"""

from collections.abc import Iterable

from stages.guards.templates import render
from stages.principles.constitution import Example, Principle

STATEMENT = "principles/statement.jinja"
"""Its variable is principle."""
PARTS = ("because", "examples", "authority")


def opposed(principle: Principle) -> Principle:
    """Return the principle with text and `opposite` swapped; it must have one.

    What was a good example is a bad one. The reason and the requests for critiques and revisions
    speak for the text, so they are left out.
    """
    examples = [
        Example(request=example.request, good=example.bad, bad=example.good)
        for example in principle.examples
    ]
    changed = {
        "text": principle.opposite,
        "opposite": principle.text,
        "critique": None,
        "revision": None,
        "because": None,
        "examples": tuple(examples),
    }
    return principle.model_copy(update=changed)


def without_parts(principle: Principle, parts: Iterable[str]) -> Principle:
    """Return the principle without some of its parts."""
    defaults = {part: Principle.model_fields[part].default for part in parts}
    return principle.model_copy(update=defaults)


def stated(principle: Principle) -> Principle:
    """Return the principle with all its parts in `text`, and in `opposite` if it has one."""
    if not (principle.because or principle.examples or principle.authority):
        return principle
    texts = {"text": render(STATEMENT, principle=principle)}
    if principle.opposite:
        texts["opposite"] = render(STATEMENT, principle=opposed(principle))
    return principle.model_copy(update=texts)
