"""`Stage.reads` of the trainings: no other column of their rows changes what they learn."""

import importlib
from dataclasses import fields, replace

import pytest

from stages import STAGES
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Pair, Rating, Response, Revision
from tests.training.conftest import pair, response, revision
from tests.training.offline.test_groups import rating

ROWS = {
    Response: [response(i, f"kind answer {i}") for i in range(3)],
    Revision: [revision(i, n, f"kind answer {i} {n}") for i in range(2) for n in (1, 2)],
    Pair: [
        replace(pair(i, f"kind answer {i}", f"harm {i}"), chosen_safe=True, rejected_safe=i > 1)
        for i in range(3)
    ],
    Rating: [rating(g, i, f"answer {i}", float(i)) for g in range(2) for i in range(3)],
}
OPTIONS = {
    "sft": [{"rounds": "all"}, {"rounds": "last"}],
    "dpo": [{}],
    "kto": [{}],
    "chain_of_hindsight": [{}, {"orders": "drawn"}],
    "ranking": [{"loss": "rrhf"}],
    "reward_model": [{}, {"objective": "cost"}],
}
CASES = [(name, options) for name, several in OPTIONS.items() for options in several]


class Read(Exception):
    """What a training would learn from, and what it dropped."""


def change(value):
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, str | float | int):
        return value + type(value)("1")
    return [*value, *value]


def change_rows(row_type, columns, seed):
    """Every row with other values in other columns than `columns`."""
    others = [one.name for one in fields(row_type) if one.name not in columns]
    return [
        replace(row, **{name: change(getattr(row, name)) for name in others}) if seed else row
        for row in ROWS[row_type]
    ]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_other_column_changes_what_is_learnt(artifact, context, monkeypatch, name, options):
    module = importlib.import_module(STAGES[name])
    stage = module.STAGE
    config = stage.config(**options)

    def stop(config, inputs, context, build, dropped, **_):
        cells = [cell.cell_contents for cell in build.__closure__]
        raise Read([cell for cell in cells if isinstance(cell, list | dict)], dropped)

    monkeypatch.setattr(module, "run_training", stop)
    for row_type in stage.reads.keys() - ({Response} if Rating in stage.reads else set()):
        results = []
        for number in range(2):
            made = {"model": artifact(f"base {row_type.__name__} {number}")}
            rows = change_rows(row_type, stage.reads[row_type], number)
            made["pairs"] = artifact(f"{row_type.__name__} {number}", rows)
            if row_type is Rating:
                rows = change_rows(Response, stage.reads[Response], number)
                made["responses"] = artifact(f"responses {number}", rows)
            with pytest.raises(Read) as caught:
                stage.run(config, made, context())
            results.append((made["pairs"], caught.value.args))
        (old, before), (new, after) = results
        assert before == after and before[0]
        assert narrow(old, stage).content() == narrow(new, stage).content()
        assert old.content() != new.content()


def narrow(one: Artifact, stage) -> Artifact:
    return replace(one, columns=stage.reads)
