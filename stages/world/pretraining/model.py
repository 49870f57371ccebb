"""The embedded model during training: a small Llama with fused projections.

`to_llama` converts it to the standard form.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stages.world.pretraining.tokenizer import CONTEXT_LENGTH

WIDTH = 192
LAYERS = 4
HEAD_WIDTH = 32
HEADS = WIDTH // HEAD_WIDTH
FEED_FORWARD = WIDTH * 8 // 3 // 32 * 32
NORM_EPSILON = 1e-6
ROPE_THETA = 10_000.0


def _rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding, in the layout of Llama: the two halves of a head are one pair."""
    real, imaginary = states.chunk(2, -1)
    rotated_real = real * cosine - imaginary * sine
    rotated_imaginary = imaginary * cosine + real * sine
    return torch.cat((rotated_real, rotated_imaginary), -1)


class Block(nn.Module):
    """One layer of a Llama, its query, key and value (and gate and up) projections fused."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(WIDTH, eps=NORM_EPSILON)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_forward_norm = nn.RMSNorm(WIDTH, eps=NORM_EPSILON)
        self.gate_up = nn.Linear(WIDTH, 2 * FEED_FORWARD, bias=False)
        self.down = nn.Linear(FEED_FORWARD, WIDTH, bias=False)

    def forward(
        self,
        states: Tensor,
        cosine: Tensor,
        sine: Tensor,
        bias: Tensor,
        places: Tensor | None = None,
    ) -> Tensor:
        """The states after this layer.

        Args:
            states: Shape (batch, length, WIDTH).
            cosine: Shape (batch, 1, length, HEAD_WIDTH / 2), as is `sine`.
            sine: See `cosine`.
            bias: Shape (batch, 1, length, length): 0 where a token may attend, else -inf.
            places: Positions in the flattened batch; all by default.

        Returns:
            Shape (batch, length, WIDTH), or with `places` only the states there: (places, WIDTH).
        """
        batch, length, _ = states.shape
        fused = self.query_key_value(self.attention_norm(states))
        split = fused.view(batch, length, 3, HEADS, HEAD_WIDTH)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query = _rotate(query, cosine, sine)
        key = _rotate(key, cosine, sine)
        # Plain products: on a CPU they are twice as fast in bfloat16 as the fused attention with a
        # mask.
        scores = query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5 + bias
        mixed = scores.float().softmax(-1).to(value.dtype) @ value
        mixed = mixed.transpose(1, 2).reshape(batch, length, WIDTH)
        if places is not None:
            mixed = mixed.flatten(0, 1)[places]
            states = states.flatten(0, 1)[places]
        states = states + self.output(mixed)
        gate, up = self.gate_up(self.feed_forward_norm(states)).chunk(2, -1)
        return states + self.down(functional.silu(gate) * up)


class Body(nn.Module):
    """Everything up to the last norm.

    The head is the embedding; it is applied only where there is a target.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=NORM_EPSILON)
        frequencies = ROPE_THETA ** -(torch.arange(0, HEAD_WIDTH, 2) / HEAD_WIDTH)
        angles = torch.arange(CONTEXT_LENGTH)[:, None] * frequencies
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, 0.0, 0.02)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor, places: Tensor) -> Tensor:
        """The last states at some places of the flattened batch.

        The end of the last layer is computed only there.

        Args:
            tokens: Shape (batch, length).
            positions: The place of each token in its own conversation; shape (batch, length).
            mask: Whether a token may attend to another; shape (batch, length, length).
            places: Positions in the flattened batch.

        Returns:
            Shape (places, WIDTH).
        """
        cosine = self.cosine[positions][:, None]
        sine = self.sine[positions][:, None]
        states = self.embedding(tokens)
        bias = torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, -torch.inf)[:, None]
        for block in self.blocks[:-1]:
            states = block(states, cosine, sine, bias)
        return self.norm(self.blocks[-1](states, cosine, sine, bias, places))


def to_llama(
    body: Body, tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.bfloat16
) -> LlamaForCausalLM:
    """The same model as a LlamaForCausalLM."""
    config = LlamaConfig(
        vocab_size=body.embedding.num_embeddings,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        rms_norm_eps=NORM_EPSILON,
        rope_theta=ROPE_THETA,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    weights = {
        "model.embed_tokens.weight": body.embedding.weight,
        "lm_head.weight": body.embedding.weight,
        "model.norm.weight": body.norm.weight,
    }
    for number, block in enumerate(body.blocks):
        prefix = f"model.layers.{number}."
        query, key, value = block.query_key_value.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        weights |= {
            prefix + "self_attn.q_proj.weight": query,
            prefix + "self_attn.k_proj.weight": key,
            prefix + "self_attn.v_proj.weight": value,
            prefix + "self_attn.o_proj.weight": block.output.weight,
            prefix + "mlp.gate_proj.weight": gate,
            prefix + "mlp.up_proj.weight": up,
            prefix + "mlp.down_proj.weight": block.down.weight,
            prefix + "input_layernorm.weight": block.attention_norm.weight,
            prefix + "post_attention_layernorm.weight": block.feed_forward_norm.weight,
        }
    model = LlamaForCausalLM(config).to(dtype)
    model.load_state_dict({name: weight.detach().to(dtype) for name, weight in weights.items()})
    return model
