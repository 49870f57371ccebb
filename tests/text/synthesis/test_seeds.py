"""The files in seeds/: what they show is what the stages ask for."""

import re
from collections import Counter
from pathlib import Path

import pytest

from stages.guards.templates import render
from stages.principles.select import Selection, select
from stages.runtime.rows import Prompt, Response
from stages.runtime.typed_config import parse_config
from stages.text.prompts import Config as PromptsConfig
from stages.text.prompts import read_rows
from stages.text.revise import read_demonstrations
from stages.text.synthesis.check_thoughts import Config, check_response
from stages.text.synthesis.filters import Filters, find_fault
from stages.text.synthesis.similarity import words_of
from tests.test_configs import composed

WATSON = Path("/work/shared/data/dromedary/watson_self_align_prompt.txt")


def test_demonstrations_of_thoughts_pass_the_parser_and_name_the_rules():
    scale = composed("scale=paper")["scale"]["self_align"]
    rules = [principle.id for principle in select(Selection(name="self_align")).principles]
    turns = read_demonstrations(scale["demonstrations"])
    assert len(rules) == 16 and len(turns) == 10
    strict = Config(opening=scale["opening"], marker=scale["marker"], cites=True)
    named = set()
    for user, assistant in zip(turns[::2], turns[1::2], strict=True):
        row = Response(
            id="a", prompt_id="a", kind="", prompt=[user], response=assistant["content"],
            context=rules, model="", seed=0,
        )  # fmt: skip
        checked, cited = check_response(row, strict)
        assert "rule" not in checked.response and len(cited) >= 2
        named |= set(cited)
    assert len(named) > 10


def test_the_system_turn_numbers_the_rules_and_asks_for_the_form():
    scale = composed("scale=paper")["scale"]["self_align"]
    principles = select(Selection(name="self_align")).principles
    text = render(scale["template"], principles=principles)
    lines = re.findall(r"^(\d+) \(([^)]+)\)\. (.*)$", text, re.MULTILINE)
    assert [int(number) for number, _, _ in lines] == list(range(1, 17))
    assert [words for _, _, words in lines] == [principle.text for principle in principles]
    assert scale["opening"] in text and scale["marker"] in text


@pytest.mark.skipif(not WATSON.exists(), reason="../shared/data is not here")
def test_no_sentence_is_of_the_paper():
    theirs = runs_of_eight(WATSON.read_text())
    for path in ("seeds/thoughts.yaml", "stages/text/synthesis/rules.jinja"):
        assert not theirs & runs_of_eight(Path(path).read_text()), path


def runs_of_eight(text):
    """Words in a row, without the numbers of rules, which both name."""
    words = [word for word in words_of(text) if not word.isdigit()]
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def test_topics_of_twenty_types():
    config = parse_config(PromptsConfig, {"source": "seeds/topics.csv", "kind_column": "type"}, "")
    rows, dropped, _ = read_rows(config)
    assert not dropped and all(isinstance(row, Prompt) for row in rows)
    assert Counter(Counter(row.kind for row in rows).values()) == {5: 20}
    topics = Filters(words=(1, 3), forbidden=(), openings=(), form="topic")
    assert not [row for row in rows if find_fault(row.messages[-1]["content"], topics)]
