"""`report_to`: nothing by default, and a tracker shows the curve that the artifact holds.

The tests of a tracker need its package, which Credo does not install.
"""

import json
import sqlite3

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.guards.errors import UserError
from stages.runtime.pipeline.settings import check_settings
from stages.training.arguments import build_arguments
from stages.training.offline import sft
from tests.test_docs import ROOT
from tests.training.conftest import response
from tests.training.offline.test_sft import ARGS


@pytest.mark.parametrize("model", [[], ["model=hub", "model.path=owner/name"]])
def test_one_option_reaches_every_training(model):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        quiet = OmegaConf.to_container(compose("config", model), resolve=True)
        shown = OmegaConf.to_container(
            compose("config", [*model, "report_to=[tensorboard,trackio]"]), resolve=True
        )
    assert quiet["report_to"] == "none"
    trainings = [name for name, value in quiet["model"].items() if "learning_rate" in str(value)]
    assert len(trainings) == 7
    for name in trainings:
        assert quiet["model"][name]["report_to"] == "none"
        assert shown["model"][name]["report_to"] == ["tensorboard", "trackio"]
    check_settings(shown)


def test_nothing_is_reported_or_uploaded_unless_it_is_asked_for(context):
    arguments = build_arguments("SFTConfig", {}, context())
    assert arguments.report_to == [] and arguments.trackio_static_space_id is False
    assert arguments.run_name == context().directory.name and arguments.project == "credo"
    named = build_arguments("SFTConfig", {"run_name": "mine", "project": "p"}, context())
    assert (named.run_name, named.project) == ("mine", "p")


def test_a_tracker_that_does_not_exist_is_refused_in_a_plan():
    with pytest.raises(UserError, match="no tracker 'tensorbord'"):
        sft.STAGE.check(sft.Config(args={"report_to": "tensorbord"}))


def test_where_it_is_reported_is_no_part_of_a_steps_identity():
    plain = sft.STAGE.identity(sft.Config(args={"learning_rate": 1e-4}))
    shown = sft.Config(args={"learning_rate": 1e-4, "report_to": "none"})
    assert sft.STAGE.identity(shown) == plain


def train(artifact, context, tracker):
    """Four steps of SFT; return the context and the losses of its curve."""
    here = context()
    config = sft.Config(args=ARGS | {"report_to": tracker})
    rows = [response(n, f"kind answer {n}") for n in range(8)]
    inputs = {"model": artifact("base"), "helpful": artifact("helpful", rows)}
    result = sft.run(config, inputs, here)
    return here, [round(point["loss"], 4) for point in result.metrics["history"]]


@pytest.mark.slow
def test_tensorboard_shows_the_curve_and_outlives_the_checkpoints(artifact, context):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    here, losses = train(artifact, context, "tensorboard")
    folder = here.directory.parent.parent / "tensorboard" / here.directory.name
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [round(one.value, 4) for one in events.Scalars("train/loss")] == losses
    assert len(losses) == ARGS["max_steps"]
    assert not list(here.directory.rglob("*tfevents*"))


@pytest.mark.long
def test_trackio_shows_the_curve_on_this_machine(artifact, context, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")  # which reads the variable at its import
    here, losses = train(artifact, context, "trackio")
    (file,) = (tmp_path / "trackio").rglob("credo*.db")
    with sqlite3.connect(file) as store:
        rows = store.execute("select run_name, metrics from metrics").fetchall()
    assert {name for name, _ in rows} == {here.directory.name}
    shown = [json.loads(metrics).get("train/loss") for _, metrics in rows]
    assert [round(loss, 4) for loss in shown if loss is not None] == losses
