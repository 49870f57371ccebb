"""Weights are loaded whole, or not at all; `tests/fuzz/models.py` has the kinds."""

import shutil
from random import Random

import pytest
import transformers

from stages.generators.transformers_loading import Options, load_model, load_network
from stages.generators.vllm_options import Options as VllmOptions
from stages.guards.errors import UserError
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config
from tests.fuzz.models import MARK, damage_model
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("sound") / "model")


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


@pytest.mark.parametrize(
    "kind, message",
    [
        ("a weight is missing", "would make up"),
        ("other names", "would make up"),
        ("tied otherwise", "would make up"),
        ("num_hidden_layers", "config.json|make up"),
        ("fewer layers", "layers that config.json leaves out"),
        ("another shape", "do not match"),
        ("intermediate_size", "config.json"),
        ("NaN", "hold NaN"),
        ("activation", "cannot load"),
        ("model_type", "Fix: "),
        ("tokenizer is empty", "Fix: "),
        ("no tokenizer", "cannot load this tokenizer"),
    ],
)
def test_nothing_is_made_up(copy, kind, message):
    damage_model(copy, Random(kind), kind)
    with pytest.raises(UserError, match=message):
        load_model(find_model(str(copy)), Options())
    assert not (copy / MARK).exists()


@pytest.mark.parametrize("kind", ["nothing", "sharded", "bfloat16", "pickle beside safetensors"])
def test_a_sound_model_is_loaded(copy, kind):
    damage_model(copy, Random(0), kind)
    load_model(find_model(str(copy)), Options())
    assert not (copy / MARK).exists()


def test_a_reward_model_without_its_output_layer_is_loaded_only_to_be_trained(copy):
    from transformers import AutoModelForSequenceClassification as Classifier

    model = find_model(str(copy))
    load_network(Classifier, model, {"num_labels": 1}, new_output=True)
    with pytest.raises(UserError, match=r"would make up|score\.weight"):
        load_network(Classifier, model, {"num_labels": 1})


def test_a_config_of_a_far_larger_model_takes_no_memory(copy, monkeypatch):
    from transformers import AutoModelForCausalLM

    from tests.fuzz.models import edit

    edit(copy / "config.json", num_hidden_layers=20, intermediate_size=389)

    def refuse(*_, **__):
        raise AssertionError("weights were made")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(UserError, match="describes a model of"):
        edit(copy / "config.json", hidden_size=384, head_dim=389)
        load_model(find_model(str(copy)), Options())


@pytest.mark.parametrize("name", ["trust_remote_code", "use_safetensors", "revision", "subfolder"])
def test_options_cannot_name_other_weights(name):
    with pytest.raises(UserError, match=f"{name} cannot be set"):
        parse_config(Options, {"load": {name: "x"}}, "generator.options")


@pytest.mark.parametrize("name", ["trust_remote_code", "load_format", "model", "tokenizer"])
def test_options_of_the_engine_cannot_either(name):
    with pytest.raises(UserError, match=f"{name} cannot be set"):
        parse_config(VllmOptions, {"engine": {name: "x"}}, "generator.options")


@pytest.mark.parametrize("config_class", ["ModernBertDecoderConfig", "XLNetConfig"])
def test_new_output_layers_of_any_name_may_be_trained(tmp_path, config_class):
    """A language model becomes a reward model, with layers of its own before the score."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2}
    if config_class == "XLNetConfig":
        sizes = {"d_model": 32, "d_inner": 64, "n_layer": 1, "n_head": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    ids |= {"cls_token_id": 1, "sep_token_id": 2}
    config = getattr(transformers, config_class)(vocab_size=64, **sizes, **ids)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    arguments = {"num_labels": 1}
    classifier = transformers.AutoModelForSequenceClassification
    load_network(classifier, find_model(str(tmp_path)), arguments, new_output=True)
