"""A random Llama of some 50,000 parameters with a byte-level tokenizer, built in a second: no
download, no skill.
"""

import random
from pathlib import Path

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "helps",
    "asks",
    "how",
    "do",
    "I",
    "build",
    "safe",
    "honest",
    "harm",
    "kind",
    "answer",
    "question",
    "principle",
    "revise",
    "critique",
]
PROMPT_WORDS = [  # so that prompts are about as short as with a real vocabulary
    "Request:",
    "Response",
    "A:",
    "B:",
    "Principle:",
    "Which",
    "response",
    "follows",
    "better?",
    "Answer",
    "A",
    "or",
    "B.",
    "user",
    "assistant",
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny_model(
    path: str | Path,
    *,
    seed: int = 0,
    context: int = 512,
    template: bool = True,
    width: int = 64,
    layers: int = 2,
) -> Path:
    """Save a model and its tokenizer under `path` and return it; the same arguments give the same
    weights.

    `context` is in tokens, `width` a multiple of 32. `template=False` leaves the chat template out,
    as a base model does.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = random.Random(0)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(
        [" ".join(words.choices(WORDS + PROMPT_WORDS, k=20)) for _ in range(400)],
        trainers.BpeTrainer(
            vocab_size=512,
            show_progress=False,
            special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = TEMPLATE if template else None
    tokenizer.save_pretrained(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=layers,
                num_attention_heads=width // 32,
                num_key_value_heads=width // 32,
                head_dim=32,
                max_position_embeddings=context,
                tie_word_embeddings=True,
                pad_token_id=0,
                eos_token_id=2,
                bos_token_id=None,
                initializer_range=0.2,
            )
        )
    network.save_pretrained(path)
    return Path(path)
