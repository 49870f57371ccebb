"""Stage `check_thoughts`: keep the answers whose thoughts have the asked form. No calls.

In: any inputs of Response rows, written after demonstrations of thoughts that name the rules to be
followed. Out: Response rows of the bare answers, with what stood before them in `thoughts`; what is
dropped is counted by reason. A training on them sees neither rules, demonstrations nor thoughts.

The parser of SELF-ALIGN (Sun et al. 2023, arXiv 2305.03047, appendix, and the released code), in
its order: the text begins with `opening`; it holds `marker`, after which the answer stands; the
thoughts name rules, all of them by a number that was shown and, where there is one, by its name;
the answer is cut at its first repeated sentence, does not copy the request, and holds no word that
only the demonstrations can have brought in.

Left out: the code's marks of turns, which chat models do not write into their answers.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.rows import Dropped, Response
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Amount, Names, Text
from stages.text.cut_off import row_fault
from stages.text.synthesis.filters import holds_phrase
from stages.text.synthesis.similarity import words_of

COPIED_CHARACTERS = 16
"""Requests up to this length may stand in an answer."""
REPEATED_WORDS = 3
"""Shorter sentences and lines may be repeated, as numbers and names in a list are."""
_RULES = re.compile(r"\brules?\s+((?:(?:,|;|and|&|\s)*\d+\b(?:\s*\([^()]*\))?)+)", re.IGNORECASE)
_RULE = re.compile(r"(\d+)(?:\s*\(([^()]*)\))?")
_SEGMENT = re.compile(r"[^.!?\n]*[.!?\n]*")


@dataclass(frozen=True)
class Config:
    opening: Text | None = None
    """What a text must begin with; null: anything."""
    marker: Text | None = None
    """What divides the thoughts from the answer; null: there are no thoughts in the text."""
    cites: bool = False
    """Whether the thoughts must name rules by number ("rules 2 (candor) and 5"): those that the row
    lists in `context`, in their order.
    """
    cut_repeated: bool = True
    """Cut the answer before the first sentence or line that it repeats."""
    forbidden: Names = ()
    """Words and phrases that no answer may hold, such as names of the demonstrations."""
    openings: Names = ()
    """Words with which no answer may begin, such as apologies."""
    copies: bool = False
    """Whether an answer may hold the whole text of a request of more than 16 characters."""
    least: Amount = 0
    """The fewest characters of an answer."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Check and cut every answer."""
    rows, dropped = [], []
    cited: Counter[str] = Counter()
    cut = 0
    for artifact in inputs.values():
        for row in artifact.rows(Response):
            try:
                checked, rules = check_response(row, config)
            except Drop as drop:
                dropped.append(Dropped(id=row.id, reason=drop.reason, detail=drop.detail))
                continue
            cited.update(rules)
            cut += not row.response.endswith(checked.response)
            rows.append(checked)
    metrics = {"cited": dict(cited), "cut_at_a_repetition": cut}
    return Result(rows=rows, row_type=Response, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Response},
    least=1,
    gives=Response,
)


def check_response(row: Response, config: Config) -> tuple[Response, list[str]]:
    """Return a row with the bare answer, and the ids of the rules that its thoughts name.

    Raises:
        Drop: the text does not have the form that is asked for.
    """
    text = row.response.strip()
    fault = row_fault(row)
    if fault:
        raise Drop(fault)
    if config.opening and not text.startswith(config.opening):
        raise Drop("does not begin as asked", text[:80])
    thoughts = row.thoughts
    if config.marker:
        written, marker, text = text.partition(config.marker)
        if not marker:
            raise Drop("no answer after its thoughts", written[-80:])
        thoughts = "\n\n".join(part for part in (thoughts, written.strip()) if part)
    rules = read_rules(thoughts, row.context) if config.cites else []
    answer = cut_at_repetition(text) if config.cut_repeated else text
    answer = answer.strip()
    if not answer:
        raise Drop("no answer after its thoughts")
    _refuse(row, answer, config)
    return replace(row, response=answer, thoughts=thoughts), rules


def _refuse(row: Response, answer: str, config: Config) -> None:
    """Refuse an answer that is of no use.

    Raises:
        Drop: it is too short, copies the request, or has words that it may not have.
    """
    if len(answer) < config.least:
        raise Drop("too short")
    request = row.prompt[-1]["content"].strip()
    if not config.copies and len(request) > COPIED_CHARACTERS and request in answer:
        raise Drop("copies the request")
    if holds_phrase(answer, config.forbidden):
        raise Drop("a forbidden word")
    if answer.lower().startswith(tuple(opening.lower() for opening in config.openings)):
        raise Drop("a forbidden opening")


def read_rules(thoughts: str, shown: Sequence[str]) -> list[str]:
    """Return the ids of the rules that thoughts name by number.

    Args:
        shown: the ids of the rules, in the order of their numbers from 1 on.

    Raises:
        Drop: they name none, one that was not shown, or one by another's name.
    """
    matches = _RULES.findall(thoughts)
    rules = [rule for match in matches for rule in _RULE.findall(match)]
    if not rules:
        raise Drop("names no rule", thoughts[-80:])
    ids = []
    for number, name in rules:
        if not 1 <= int(number) <= len(shown):
            raise Drop("names a rule that does not exist", number)
        rule = shown[int(number) - 1]
        if name.strip() and _bare(name) != _bare(rule):
            raise Drop("names a rule by another name", f"{number} ({name})")
        ids.append(rule)
    return list(dict.fromkeys(ids))


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def cut_at_repetition(text: str) -> str:
    """Return a text up to the first sentence or line that stands in it a second time.

    The result is always a beginning of the text.
    """
    seen: set[tuple[str, ...]] = set()
    end = 0
    for match in _SEGMENT.finditer(text):
        words = tuple(words_of(match[0]))
        if len(words) >= REPEATED_WORDS and words in seen:
            break
        seen.add(words)
        end = match.end()
    return text[:end]
