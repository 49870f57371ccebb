"""Ask a model of the embedded world: sampled answers, and the odds of first tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Conversation = list[dict[str, str]]
BATCH_SIZE = 100
LONGEST_ANSWER = 90
"""Tokens after which an answer is cut off."""


@dataclass(frozen=True)
class WorldModel:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: Any

    def answer(
        self,
        conversations: list[Conversation],
        temperature: float = 0.0,
    ) -> list[str]:
        """One answer to each conversation.

        Args:
            conversations: The conversations to answer; each ends with a message of the user.
            temperature: The temperature of the samples; 0 is greedy.
        """
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": temperature,
                "top_k": 0,
                "top_p": 1.0,
            }

        def complete(inputs: Any) -> list[str]:
            output = self.model.generate(
                **inputs,
                **sampling,
                max_new_tokens=LONGEST_ANSWER,
            )
            prompt_length = inputs["input_ids"].shape[1]
            new_tokens = output[:, prompt_length:]
            texts = self.tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
            return [text.strip() for text in texts]

        return self._in_batches(conversations, complete)

    def label_odds(
        self,
        conversations: list[Conversation],
        labels: tuple[str, ...],
    ) -> list[list[float]]:
        """Log-probabilities of labels as the first token of the answer.

        Args:
            conversations: The conversations to answer.
            labels: Answers of one token each.

        Returns:
            For each conversation one number for each label.
        """
        tokens = [self.tokenizer.convert_tokens_to_ids(label) for label in labels]

        def compute_odds(inputs: Any) -> list[list[float]]:
            output = self.model(**inputs, logits_to_keep=1)
            logits = output.logits[:, -1].float()
            log_probabilities = logits.log_softmax(-1)
            return log_probabilities[:, tokens].tolist()

        return self._in_batches(conversations, compute_odds)

    @torch.inference_mode()
    def _in_batches(
        self,
        conversations: list[Conversation],
        function: Callable[[Any], list],
    ) -> list:
        """Apply a function to each batch of encoded prompts; results keep the order of the input.

        Texts of similar length share a batch.
        """
        texts = self.tokenizer.apply_chat_template(
            conversations,
            tokenize=False,
            add_generation_prompt=True,
        )
        lengths = [len(text) for text in texts]
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        results: dict[int, Any] = {}
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            batch = [texts[index] for index in indices]
            inputs = self.tokenizer(
                batch,
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
            )
            inputs.pop("token_type_ids", None)
            results.update(zip(indices, function(inputs), strict=True))
        return [results[index] for index in range(len(texts))]


def load(path: Path | str) -> WorldModel:
    """Load a checkpoint from disk, without the network."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        path,
        padding_side="left",
        local_files_only=True,
    )
    model = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=torch.float32,
        local_files_only=True,
    )
    return WorldModel(model.eval(), tokenizer)


def converse(*texts: str, system: str = "") -> Conversation:
    """Messages of the user and the assistant in turn, below a system prompt if there is one."""
    messages = []
    if system:
        messages.append({"role": "system", "content": system})
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        messages.append({"role": role, "content": text})
    return messages
