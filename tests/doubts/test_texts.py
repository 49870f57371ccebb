"""Warnings about critiques and revisions: that they come, and that a healthy step has none."""

from dataclasses import replace

import pytest

from stages.doubts.texts import doubt_revisions
from stages.runtime.rows import Revision

REQUEST = "Name what is wrong with your answer under this principle: be kind and helpful to all."


def rows(count=20):
    """A healthy step: each critique and each revision has words of its own."""
    return [
        Revision(
            id=f"{i}-r1",
            response_id=f"{i}",
            prompt_id=f"{i}",
            kind="k",
            prompt=[{"role": "user", "content": f"request {i}"}],
            response=f"better answer {i}",
            original=f"answer {i}",
            previous=f"answer {i}",
            round=1,
            principle="p",
            critique_request=REQUEST,
            critique=f"It insults person {i}.",
            revision_request="Rewrite it.",
            faulty=True,
            model="m",
            seed=i,
        )
        for i in range(count)
    ]


def changed(**columns):
    return [
        replace(row, **{name: get(i, row) for name, get in columns.items()})
        for i, row in enumerate(rows())
    ]


def test_a_healthy_step_has_no_warnings():
    assert doubt_revisions(rows(), True) == []
    mostly_good = changed(
        faulty=lambda i, row: i < 2, revision_request=lambda i, row: "Rewrite it." if i < 2 else ""
    )
    assert doubt_revisions(mostly_good, False) == [], "two of twenty answers had a fault"


EMPTY = [
    ({"response": lambda i, row: row.previous}, "20 of 20 revisions repeat the answer unchanged"),
    ({"critique": lambda i, row: "It is fine. "}, "20 of 20 critiques are the same: 'it is fine.'"),
    ({"critique": lambda i, row: f"{REQUEST} {i}"}, "20 of 20 critiques repeat the request"),
    ({"critique": lambda i, row: row.previous}, "20 of 20 critiques repeat the answer"),
]


@pytest.mark.parametrize(("columns", "message"), EMPTY)
def test_form_without_content(columns, message):
    (warning,) = doubt_revisions(changed(**columns), True)
    assert warning.startswith(message)


def test_half_of_the_rows_are_no_reason_to_warn():
    half = changed(response=lambda i, row: row.previous if i % 2 else row.response)
    assert doubt_revisions(half, True) == []


def test_no_critique_names_a_fault():
    good = changed(faulty=lambda i, row: False, revision_request=lambda i, row: "")
    (warning,) = doubt_revisions(good, False)
    assert warning.startswith("no critique of 20 names a fault")
    assert doubt_revisions(good[:5], False) == [], "too few to tell"
