"""Choosing principles: only, drop, tags, weights, and what is refused."""

import pytest
from omegaconf import OmegaConf

from stages.guards.errors import UserError
from stages.principles.constitution import load
from stages.principles.select import Selection, select

HHH = [principle.id for principle in load("hhh").principles]


def ids(selection):
    return [principle.id for principle in select(selection).principles]


def test_nothing_chosen_is_the_whole_file():
    assert select(Selection("hhh")) == load("hhh")


def test_only_drop_and_tags_keep_the_order_of_the_file():
    assert ids(Selection("hhh", only=("no-crime", "accurate"))) == ["accurate", "no-crime"]
    assert ids(Selection("hhh", drop=("no-crime",))) == [i for i in HHH if i != "no-crime"]
    tagged = [p.id for p in load("hhh").principles if "harmless" in p.tags]
    assert ids(Selection("hhh", tags=("harmless",))) == tagged
    assert ids(Selection("hhh", tags=("harmless", "honest", "helpful"))) == HHH
    assert ids(Selection("hhh", only=("no-crime", "accurate"), drop=("no-crime",))) == ["accurate"]


def test_weights_replace_the_weight_and_zero_drops():
    left = select(Selection("hhh", weights={"accurate": 3, "no-crime": 0})).principles
    assert {p.id: p.weight for p in left if p.weight != 1} == {"accurate": 3.0}
    assert "no-crime" not in [p.id for p in left]


def test_a_weight_of_one_changes_no_fingerprint():
    assert select(Selection("hhh", weights={"accurate": 1})).identity() == load("hhh").identity()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection("hhh", only=("no-crimes",)),
            r"constitution.only: .*hhh.yaml has no principle 'no-crimes'. Did you mean 'no-crime'",
        ),
        (Selection("hhh", drop=("acurate",)), "constitution.drop.*'accurate'"),
        (Selection("hhh", weights={"franc": 2}), "constitution.weights.*'frank'"),
        (
            Selection("hhh", tags=("harmles",)),
            "constitution.tags.*has no tag 'harmles'. Did you mean 'harmless'",
        ),
        (Selection("hhh", drop="no-crime"), r"must be a list.*\n.*constitution.drop=\[no-crime\]"),
        (Selection("hhh", only=()), "no principle of .*hhh.yaml is left"),
        (Selection("hhh", drop=tuple(HHH)), "no principle of .* is left"),
        (Selection("hhh", weights={"frank": -1}), "weight of 'frank' is -1"),
        (Selection("hhh", weights={"frank": float("nan")}), "weight of 'frank' is nan"),
        (Selection("hhh", weights={"frank": "high"}), "weight of 'frank' is 'high'"),
        (Selection("hhhh"), "Did you mean 'hhh'"),
        (Selection("h" * 300), "there is no constitution 'hhh"),
        (Selection("~nobody/x.yaml"), "there is no constitution '~nobody"),
    ],
)
def test_mistakes_are_reported(selection, message):
    with pytest.raises(UserError, match=message):
        select(selection)


def test_a_selection_can_be_a_config():
    schema = OmegaConf.structured(Selection)
    OmegaConf.set_readonly(schema, False)  # a frozen dataclass is read-only as a schema, too
    given = [
        "constitution.name=hhh",
        "constitution.drop=[no-crime]",
        "constitution.weights={frank: 2}",
    ]
    config = OmegaConf.merge(
        OmegaConf.create({"constitution": schema}), OmegaConf.from_dotlist(given)
    )
    chosen = OmegaConf.to_object(config.constitution)
    assert isinstance(chosen, Selection)
    assert ids(chosen) == [i for i in HHH if i != "no-crime"]
