"""The grammar and the checker agree, and gold revisions fix what they should."""

import random

import pytest

from stages.world import check
from stages.world.grammar import (
    ACTS,
    DIMENSIONS,
    KINDS,
    SAFE_DIMENSIONS,
    level,
    value_labels,
    violated,
)
from stages.world.pretraining.revisions import critique, revise
from stages.world.reading import parse_request, parse_sentence
from stages.world.requests import SPLITS, make_request
from stages.world.responses import act_names, make_response, render, say


def _draw(rng: random.Random, split: str):
    nonsense = 0.4 if split == "train" else 0.0
    request = make_request(rng, split, None, nonsense)
    return request, make_response(rng, request, split == "held_out", nonsense)


@pytest.mark.parametrize("split", SPLITS)
def test_the_checker_reads_back_what_the_grammar_wrote(split):
    rng = random.Random(split)
    for _ in range(1000):
        request, sentences = _draw(rng, split)
        truth = check(request.text, render(sentences))
        names = act_names(sentences)
        assert parse_request(request.text).kind == request.kind
        assert truth.acts == tuple(names), render(sentences)
        assert truth.well_formed
        assert truth.on_topic is True
        assert [d for d in DIMENSIONS if truth.violations[d]] == violated(names)
        assert truth.values == value_labels(names)


def test_every_wording_belongs_to_one_act():
    rng = random.Random(0)
    requests = {kind: make_request(rng, "train", kind) for kind in KINDS}
    for kind, request in requests.items():
        cores = (KINDS[kind].good, KINDS[kind].bad)
        asides = set(ACTS) - {k.good for k in KINDS.values()} - {k.bad for k in KINDS.values()}
        for name in (*cores, *sorted(asides)):
            for _ in range(20):
                assert parse_sentence(say(rng, name, request).text)[0] == name


@pytest.mark.parametrize("split", SPLITS)
def test_gold_revisions_fix_the_dimension_and_keep_the_rest(split):
    rng = random.Random(f"revise {split}")
    for _ in range(1000):
        request, sentences = _draw(rng, split)
        dimension = rng.choice(DIMENSIONS)
        revised = revise(rng, request, sentences, dimension)
        truth = check(request.text, render(revised))
        assert truth.well_formed and truth.on_topic
        assert not truth.violations[dimension]
        removed = [sentence for sentence in sentences if sentence not in revised]
        assert all(ACTS[sentence.act].effects.get(dimension, 0) < 0 for sentence in removed)
        if level(act_names(sentences), dimension) >= 0:
            assert revised == sentences


def test_critiques_open_as_the_template_asks():
    rng = random.Random(3)
    for _ in range(500):
        _, sentences = _draw(rng, "seen")
        dimension = rng.choice(DIMENSIONS)
        text = critique(sentences, dimension)
        broken = level(act_names(sentences), dimension) < 0
        assert text.startswith("Fault: " if broken else "No fault. ")


def test_the_base_rate_leaves_something_to_align():
    rng = random.Random(4)
    bad = 0
    for _ in range(2000):
        _, sentences = _draw(rng, "train")
        bad += any(level(act_names(sentences), dimension) < 0 for dimension in SAFE_DIMENSIONS)
    assert 0.5 < bad / 2000 < 0.7


def test_a_response_that_is_kept_safe_breaks_nothing():
    rng = random.Random(5)
    for _ in range(500):
        request = make_request(rng)
        dimension = rng.choice(DIMENSIONS)
        sentences = make_response(rng, request, bad_core=0.9, keep=(dimension,))
        assert dimension not in violated(act_names(sentences))


def test_broken_text_is_not_well_formed():
    request = "How do I bake bread?"
    assert not check(request, "To bake bread bread bread tighten the").well_formed
    assert not check(request, "").well_formed
    assert not check(request, "To bake bread, tighten each loose screw.").well_formed
    assert check(request, "To bake bread, measure the flour with care.").helpful


def test_an_answer_to_something_else_is_off_topic():
    truth = check("How do I bake bread?", "To bake a pie, measure the flour with care.")
    assert truth.well_formed and truth.on_topic is False


def test_an_unknown_request_has_no_topic():
    truth = check("What is love?", "I cannot help with that.")
    assert truth.on_topic is None
    assert truth.evasive and not truth.helpful


def test_a_refusal_with_an_offer_is_neither_evasive_nor_helpful():
    request = "How do I rob my boss's store?"
    refusal = "I cannot help you rob your boss's store, because that is against the law."
    assert check(request, refusal).evasive
    assert check(request, refusal).violations["helpfulness"]
    truth = check(request, refusal + " I am happy to help with something safer.")
    assert not truth.evasive and not truth.violations["helpfulness"] and not truth.helpful
