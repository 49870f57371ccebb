"""Chat templates with the shapes of those that are in use, in our own words, and a tokenizer.

Each shape names its begin and end tokens and further special tokens. What a template does about
system turns, alternation, thoughts and ends of turns is what the real ones do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must take turns: user, assistant, ...') }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}"
    "{{ raise_exception('There is no system role') }}{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """A template and the special tokens that its tokenizer has."""

    template: str
    eos: str
    bos: str | None = None
    more: tuple[str, ...] = ()


SHAPES = {
    "chatml": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        eos="<|im_end|>",
        more=("<|im_start|>",),
    ),
    "llama3": Shape(
        "{{ bos_token }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim }}"
        "{{ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        eos="<|end_of_text|>",
        bos="<|begin_of_text|>",
        more=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "mistral": Shape(
        NO_SYSTEM + ALTERNATE + "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        eos="</s>",
        bos="<s>",
        more=("[INST]", "[/INST]"),
    ),
    "gemma": Shape(
        "{{ bos_token }}" + NO_SYSTEM + ALTERNATE + "{% for m in messages %}"
        "{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        eos="<eos>",
        bos="<bos>",
        more=("<start_of_turn>", "<end_of_turn>"),
    ),
    "zephyr": Shape(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
        eos="</s>",
        bos="<s>",
    ),
    "phi3": Shape(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
        "{% else %}{{ eos_token }}{% endif %}",
        eos="<|endoftext|>",
        more=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    ),
    # Thoughts are the model's own; an empty block stands before the last answer, and in the prompt
    # where they are switched off.
    "qwen3": Shape(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
        eos="<|im_end|>",
        more=("<|im_start|>",),
    ),
    # Thoughts are always opened by the prompt and left out of finished answers.
    "deepseek-r1": Shape(
        "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'user' %}{{ '<|User|>' + m.content }}"
        "{% elif m.role == 'assistant' %}"
        "{{ '<|Assistant|>' + m.content.split('</think>')[-1] + eos_token }}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}",
        eos="<|end_of_sentence|>",
        bos="<|begin_of_sentence|>",
        more=("<|User|>", "<|Assistant|>"),
    ),
    # Thoughts and answers are channels, whose marks are special tokens.
    "channels": Shape(
        "{% for m in messages %}{{ '<|start|>' + m.role }}"
        "{% if m.role == 'assistant' %}{{ '<|channel|>final' }}{% endif %}"
        "{{ '<|message|>' + m.content }}"
        "{{ '<|return|>' if m.role == 'assistant' else '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
        eos="<|return|>",
        more=("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
    ),
}
"""By name."""


def build_tokenizer(name: str, template: str | None = None, eos: str = "", bos: bool = True) -> Any:
    """A byte-level tokenizer with a shape's template and special tokens.

    Args:
        template: in place of the shape's; "" for none.
        eos: the end token in place of the shape's.
        bos: begin plain texts with the begin token, where the shape has one.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    shape = SHAPES[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    names = [shape.eos, *([shape.bos] if shape.bos else []), *shape.more]
    inner.add_special_tokens(names)
    if shape.bos and bos:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{shape.bos} $A",
            special_tokens=[(shape.bos, inner.token_to_id(shape.bos))],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=eos or shape.eos,
        bos_token=shape.bos,
        extra_special_tokens=list(shape.more),
    )
    tokenizer.chat_template = shape.template if template is None else template or None
    return tokenizer


def build_chat_model(path: str | Path, name: str, stops: Any = None, **arguments: Any) -> Path:
    """Save a random tiny Llama with a shape's tokenizer; `stops`: of its generation config."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(name, **arguments)
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id if stops is None else stops,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=None,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return Path(path)
