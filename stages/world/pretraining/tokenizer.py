"""The byte-level BPE tokenizer of the embedded model, trained on lessons of the training split."""

import random
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stages.world.pretraining.lessons.catalogue import draw_lesson
from stages.world.pretraining.lessons.plan import Curriculum
from stages.world.pretraining.wordings import VALUE_ANSWERS

VOCABULARY_SIZE = 1536
CONTEXT_LENGTH = 1024
PAD = "<|pad|>"
END = "<|end|>"
ROLE_MARKERS = ("<|system|>", "<|user|>", "<|assistant|>")
LABELS = ("A", "B", "Yes", "No", *VALUE_ANSWERS.values())
"""The answers of judges, each of them one token."""

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

_CORPUS = Curriculum(
    shares={
        "copy": 0.2,
        "respond": 0.2,
        "steer": 0.2,
        "verdict": 0.1,
        "judge": 0.1,
        "fix": 0.15,
        "value": 0.05,
    },
    nonsense=0.15,
)


def train_tokenizer(seed: int = 5, lessons: int = 9000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on drawn lessons and wrap it for transformers, with the chat template."""
    rng = random.Random(seed)

    def texts() -> Iterator[str]:
        for _ in range(lessons):
            _, lesson = draw_lesson(rng, _CORPUS)
            for conversation in lesson[:2]:
                for turn in conversation:
                    yield turn.content
            # Labels open an answer, with no space before them, so each needs a token of its own.
            yield from LABELS

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, END, *ROLE_MARKERS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=8,
        show_progress=False,
    )
    bpe.train_from_iterator(texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLE_MARKERS),
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
