"""Warnings about principle sets, and the command line."""

import random
import time
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.principles.constitution import Constitution
from stages.principles.lint import lint, main

KIND = {"id": "kind", "text": "The response is kind to everybody in the room."}


def rules(*principles, polarity=False):
    made = Constitution.model_validate({"name": "m", "principles": principles})
    return {(finding.rule, *finding.principles) for finding in lint(made, polarity)}


def other(text, **more):
    return {"id": "other", "text": text, **more}


@pytest.mark.parametrize(
    ("principle", "rule"),
    [
        (other("The response is kind, to everybody in the Room."), ("duplicate", "kind", "other")),
        (
            other("The response is kind to everybody in this room."),
            ("near-duplicate", "kind", "other"),
        ),
        (
            other("The response is not kind to everybody in the room."),
            ("contradiction", "kind", "other"),
        ),
        (
            other("The response tells jokes.", opposite=KIND["text"]),
            ("contradiction", "kind", "other"),
        ),
        (
            other("The response tells jokes.", opposite="The response tells jokes."),
            ("contradiction", "other"),
        ),
        (other("The response never tells jokes."), ("negative framing", "other")),
        (other("The response " + "really " * 60 + "helps."), ("over-long", "other")),
        (other("The response tells jokes"), ("unfinished sentence", "other")),
        (other("The response tells jokes.", situations=["a party"]), ("no situations", "kind")),
        (other("The response tells jokes.", dimension="hedonism"), ("no dimension", "kind")),
        (
            other("The response tells jokes.", opposite="The response is dull."),
            ("no opposite", "kind"),
        ),
        (
            other("The response tells jokes.", because="Jokes help"),
            ("unfinished sentence", "other"),
        ),
        (other("It jokes.", because="It jokes!"), ("no reason", "other")),
        (other("It jokes.", because="Jokes help."), ("no because", "kind")),
        (other("It jokes.", examples=[{"good": ["Ha!"]}]), ("no examples", "kind")),
        (other("It jokes.", authority="user"), ("no authority", "kind")),
        (
            other("It jokes.", because="Jokes help.", critique="Say what is dull."),
            ("unread parts", "other"),
        ),
        (
            other("It jokes.", examples=[{"request": "Hi", "good": ["Ha!"], "bad": ["Ha."]}]),
            ("contradiction", "other"),
        ),
        (
            other("It jokes.", opposite="It is dull.", examples=[{"good": ["It is dull."]}]),
            ("contradiction", "other"),
        ),
        (other("It jokes.", examples=[{"bad": ["It jokes"]}]), ("contradiction", "other")),
    ],
)
def test_each_rule(principle, rule):
    assert rules(KIND, principle) == {rule} or rule in rules(KIND, principle)


@pytest.mark.slow
def test_a_planted_pair_is_found_among_thousands():
    chance = random.Random(0)
    texts = [
        f"The response {' '.join(f'w{chance.randrange(900)}' for _ in range(8))}."
        for _ in range(2000)
    ]
    principles = [{"id": f"p{i}", "text": text} for i, text in enumerate(texts)]
    near = texts[77].removesuffix(".") + " indeed."
    assert rules(*principles, other(near)) == {("near-duplicate", "p77", "other")}


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).map(" ".join),
        min_size=2,
        max_size=8,
    )
)
def test_no_near_pair_is_overlooked(texts):
    principles = [{"id": f"p{i}", "text": f"{text}."} for i, text in enumerate(texts)]
    pairs = {(one, other) for _, one, *rest in rules(*principles) for other in rest}
    sets = [set(text.split()) - {"a"} for text in texts]
    for (i, one), (j, two) in combinations(enumerate(sets), 2):
        near = one and two and len(one & two) >= 0.75 * len(one | two)
        assert ((f"p{i}", f"p{j}") in pairs) == bool(near or texts[i] == texts[j])


@pytest.mark.parametrize("words", [1, 12])
def test_thousands_of_alike_principles_are_cut_and_said_to_be(words):
    chance = random.Random(0)
    texts = [
        f"The {' '.join(f'w{chance.randrange(words)}' for _ in range(words))}." for _ in range(3000)
    ]
    started = time.process_time()
    warnings = rules(*({"id": f"p{i}", "text": text} for i, text in enumerate(texts)))
    assert time.process_time() - started < 10
    assert len(warnings) < 1000 and "cut" in {rule for rule, *_ in warnings}


def test_an_answer_may_be_good_for_one_request_and_bad_for_another():
    examples = [{"request": "Hi", "good": ["Ha!"]}, {"request": "My dog died", "bad": ["Ha!"]}]
    assert rules(other("It jokes.", examples=examples)) == set()
    two = {"id": "two", "text": "It is quiet.", "examples": [{"request": "hi", "bad": ["Ha"]}]}
    found = rules(other("It jokes.", examples=examples), two)
    assert found == {("contradiction", "other", "two")}


def test_a_good_set_has_no_warnings():
    assert rules(KIND, other("The response tells jokes.")) == set()


def test_polarity_wants_every_opposite():
    found = rules(KIND, other("The response tells jokes."), polarity=True)
    assert found == {("no opposite", "kind"), ("no opposite", "other")}


def test_an_opposite_is_no_contradiction_to_its_own_text():
    assert (
        rules({**KIND, "opposite": "The response is not kind to everybody in the room."}) == set()
    )


def test_command_line(tmp_path, capsys):
    assert main(["hhh", "cai"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "No warnings" in shown
    assert "hhh: the embedded model cannot read 'individuals', 'quotations'" in shown
    assert "words of 17 of 18 principles" in shown and "(this matters with model=embedded" in shown
    assert main(["world"]) == 0
    assert "cannot read" not in capsys.readouterr().out
    warned = tmp_path / "warned.yaml"
    warned.write_text(
        "name: m\nprinciples:\n  - {id: a, text: 'The response is kind.', because: 'Zzyzx.'}\n"
    )
    main([str(warned)])
    assert "'zzyzx', words of 1 of 1" in " ".join(capsys.readouterr().out.split())
    warned.write_text(
        "name: m\nprinciples:\n  - {id: a, text: 'The response is not [red]rude[/red].'}\n"
    )
    assert main([str(warned)]) == 0
    assert "negative framing" in capsys.readouterr().out
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: m\n")
    assert main([str(broken), str(warned)]) == 2
    streams = capsys.readouterr()
    assert "broken.yaml:1" in streams.err
    assert "negative framing" in streams.out
