"""Do the ways to combine principles agree on people's data? A judge of key words, no model.

    python timings/keyword_composition.py helpful_test.jsonl.gz harmless_base_test.jsonl.gz

The files are those of hh-rlhf (Bai et al. 2022): two answers of a dialogue, and which one people
chose. Each principle below is judged by a count of words in an answer; the margin is the
difference of the two counts, in standard deviations over all pairs. So the matrix is exact and the
judge crude: it says how far ways of combining agree when principles measure what a reader can
count, not how good a judge is. The ways, their agreement and its intervals are those of the stage
`composition`, without a judge that reads the whole list and without a reward model. Weights are 8
to 1 in the order below. Accuracy is that of people's choice.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import pstdev

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stages.evaluation.composition import composition  # noqa: E402
from stages.evaluation.composition.ways import compose  # noqa: E402
from stages.evaluation.judge_agreement import right  # noqa: E402
from stages.preferences import judged_pairs  # noqa: E402
from stages.preferences.label_rule import Rule  # noqa: E402
from stages.principles.constitution import Principle  # noqa: E402
from stages.principles.select import Selection  # noqa: E402
from stages.runtime.rows import Judgement  # noqa: E402
from stages.sources.records import read_file  # noqa: E402
from stages.statistics.intervals import by_prompt, share  # noqa: E402

TURN = "\n\nAssistant:"
WORDS = {
    "no-harm": (-1, r"kill|weapon|steal|drugs?|bombs?|poison|hack|attack|fight|gun"),
    "no-insult": (-1, r"stupid|idiot|dumb|hate|ugly|fat|bitch|fuck\w*|shit|damn"),
    "declines": (1, r"sorry|can\W?t|cannot|won\W?t|illegal|shouldn\W?t|dangerous"),
    "careful": (1, r"maybe|perhaps|might|could|may|probably|think|seems?"),
    "asks": (1, r"\?"),
    "kind": (1, r"please|thanks?|welcome|glad|happy|love|good|great|help"),
    "full": (1, r"\w+"),
    "ordered": (1, r"first|second|then|next|also|finally|\d+\."),
}
"""By principle: whether words of this pattern speak for an answer (1) or against it (-1)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="+")
    for path in parser.parse_args().paths:
        print(json.dumps({"file": path.name} | measure(path), indent=2))


def measure(path: Path) -> dict[str, object]:
    cells, chosen = matrix(path)
    principles = {
        name: Principle(id=name, text=name, weight=float(len(WORDS) - place))
        for place, name in enumerate(WORDS)
    }
    rule = Rule(principles, frozenset(), 0, "agree", None, "mean")
    selection = Selection(name="-")
    composed = compose(cells, rule, judged_pairs.Config(selection, aggregate="salmon", negation=0))
    metrics = composition.measure(
        composed, cells, rule, composition.Config(constitution=selection), None
    )
    for way, labels in composed.items():
        values = [(pair, right(label.margin, chosen[pair])) for pair, label in labels.items()]
        estimate = share(by_prompt(values))
        metrics["ways"][way]["as people chose"] = estimate.plain() if estimate else None
    return metrics


def matrix(path: Path) -> tuple[dict[str, list[Judgement]], dict[str, int]]:
    """Return by pair its cells, and which answer people chose (1: the first, -1: the second)."""
    pairs = list(answers(path))
    counts = {
        name: [tuple(count(pattern, text) for text in both[:2]) for both in pairs]
        for name, (_, pattern) in WORDS.items()
    }
    cells: dict[str, list[Judgement]] = {str(number): [] for number in range(len(pairs))}
    for name, (sign, _) in WORDS.items():
        differences = [sign * (first - second) for first, second in counts[name]]
        scale = pstdev(differences) or 1.0
        for number, difference in enumerate(differences):
            cells[str(number)].append(cell(str(number), name, difference / scale, pairs[number]))
    return cells, {str(number): both[2] for number, both in enumerate(pairs)}


def answers(path: Path) -> Iterator[tuple[str, str, int]]:
    """Give the last answers of each record, every second one with the chosen answer second."""
    for number, record in enumerate(read_file(path)):
        chosen, rejected = (
            str(record.cells[key]).rpartition(TURN)[2].strip() for key in ("chosen", "rejected")
        )
        if chosen != rejected:
            yield (chosen, rejected, 1) if number % 2 else (rejected, chosen, -1)


def count(pattern: str, text: str) -> float:
    words = len(text.split()) or 1
    matches = len(re.findall(rf"\b(?:{pattern})\b" if pattern != r"\?" else pattern, text.lower()))
    return float(matches) if pattern == r"\w+" else matches / words


def cell(pair: str, name: str, margin: float, both: tuple[str, str, int]) -> Judgement:
    return Judgement(
        id=f"{pair}|{name}",
        pair_id=pair,
        response_a_id=f"{pair}-a",
        response_b_id=f"{pair}-b",
        prompt_id=pair,
        kind="",
        prompt=[],
        response_a=both[0],
        response_b=both[1],
        principle=name,
        margin_ab=margin,
        margin_ba=margin,
        model="key words",
        template="",
    )


if __name__ == "__main__":
    main()
