"""One forward pass a token: plain, or on a GPU as the replay of a CUDA graph. Needs torch.

A small model's step is a few hundred short kernels, and launching them from Python takes longer
than running them. A graph launches them all at once. It needs keys and values at fixed places:
after the prompts are read, they are copied into a `StaticCache` as wide as the longest text may be.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger(__name__)
WIDTH_STEP = 256
"""Widths are rounded up to this many tokens, so that batches of similar length share graphs."""
CLOSE = {"rtol": 0.05, "atol": 0.05}
"""How near a replayed step must be to the same step without a graph."""


class Decoder:
    """The texts of one batch: the prompts are read once, then each text grows token by token."""

    def __init__(self, network: Any):
        self.network = network
        self._cache: Any = None
        self._mask: Any = None
        self._place: Any = None

    def read(self, ids: "torch.Tensor", mask: "torch.Tensor", room: int) -> "torch.Tensor":
        """Read the prompts of a new batch.

        Args:
            ids: token ids, padded on the left, (rows, width).
            mask: 1 at real tokens, (rows, width).
            room: the most tokens that will follow.

        Returns:
            The next token's logits, (rows, vocabulary).
        """
        self._mask = mask
        place = positions(mask)
        self._cache = None
        logits = self._forward(ids, place)
        self._place = place[:, -1:]
        return logits

    def step(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """Append a token to each text, (rows,); return the next token's logits."""
        import torch

        self._place = self._place + 1
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        return self._forward(tokens[:, None], self._place)

    def keep(self, rows: "torch.Tensor") -> None:
        """Drop the texts at all other places."""
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]
        self._place = self._place[rows]

    def _forward(self, ids: "torch.Tensor", place: "torch.Tensor") -> "torch.Tensor":
        output = self.network(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=place,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = output.past_key_values
        return output.logits[:, -1].float()


class GraphDecoder(Decoder):
    """A decoder whose steps run at fixed places in memory, and on a GPU as CUDA graphs.

    There is one graph for each number of rows, a power of two, over the first rows of one store of
    keys and values; a wider batch gets a new store. Where the model's cache is of another kind, or
    its step cannot be captured, texts are written as by `Decoder`, and the log says so once.
    """

    def __init__(self, network: Any):
        super().__init__(network)
        self._is_possible = True
        self._rows = 0
        self._length = 0
        self._store: _Store | None = None

    @property
    def _is_static(self) -> bool:
        """Whether the batch lies in the store: it has moved there, and left no cache behind."""
        return self._store is not None and self._cache is None

    def read(self, ids: "torch.Tensor", mask: "torch.Tensor", room: int) -> "torch.Tensor":
        """See `Decoder.read`."""
        logits = super().read(ids, mask, room)
        if self._is_possible:
            self._move(ids.shape[1] + room)
        return logits

    def step(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """See `Decoder.step`."""
        if not self._is_static:
            return super().step(tokens)
        assert self._store is not None
        self._store.tokens[: self._rows, 0] = tokens
        self._store.places[: self._rows] += 1
        logits = self._store.step(bucket(self._rows))
        self._length += 1
        return logits[: self._rows]

    def keep(self, rows: "torch.Tensor") -> None:
        """See `Decoder.keep`."""
        if not self._is_static:
            super().keep(rows)
            return
        assert self._store is not None
        self._store.keep(rows, self._length)
        self._rows = len(rows)

    def _move(self, width: int) -> None:
        """Move what was read into the store, where that is possible."""
        from transformers.cache_utils import DynamicLayer

        layers = self._cache.layers
        if any(type(layer) is not DynamicLayer for layer in layers):
            self._give_up("its cache is not of keys and values alone")
            return
        rows = len(self._mask)
        width = -(-width // WIDTH_STEP) * WIDTH_STEP
        if self._store is None or not self._store.holds(rows, width):
            self._store = None  # its memory is needed
            try:
                self._store = _Store(self.network, layers, bucket(rows), width)
            except ValueError as error:
                self._give_up(str(error))
                return
        self._store.fill(layers, self._mask, self._place)
        self._rows = rows
        self._length = self._mask.shape[1]
        try:
            self._store.prepare(bucket(rows), self._length)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._give_up(str(error))
            return
        self._cache = None

    def _give_up(self, reason: str) -> None:
        self._is_possible = False
        self._store = None
        LOG.warning("texts are written without CUDA graphs, which is slower: %s", reason)


class _Store:
    """Keys and values of a batch at fixed places, and the steps over its first rows."""

    def __init__(self, network: Any, layers: Any, rows: int, width: int):
        import torch

        self.network = network
        self.rows = rows
        self.width = width
        self._keys = [
            layer.keys.new_zeros(rows, layer.keys.shape[1], width, layer.keys.shape[3])
            for layer in layers
        ]
        self._values = [
            layer.values.new_zeros(rows, layer.values.shape[1], width, layer.values.shape[3])
            for layer in layers
        ]
        device = network.device
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.places = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._mask = torch.ones(rows, width, dtype=torch.bool, device=device)
        self._caches: dict[int, Any] = {}
        self._steps: dict[int, Callable[[], torch.Tensor]] = {}
        self._open_cache(rows)

    def holds(self, rows: int, width: int) -> bool:
        """Return whether a batch fits, without a width twice what it needs."""
        return rows <= self.rows and width <= self.width < 2 * width

    def fill(self, layers: Any, mask: "torch.Tensor", place: "torch.Tensor") -> None:
        """Take over what was read of a batch."""
        rows, length = mask.shape
        for layer, keys, values in zip(layers, self._keys, self._values, strict=True):
            keys[:rows, :, :length] = layer.keys
            values[:rows, :, :length] = layer.values
        # Places after the text are hidden by their order; rows that are no text see everything.
        self._mask.fill_(True)
        self._mask[:rows, :length] = mask.bool()
        self.places[:rows] = place

    def keep(self, rows: "torch.Tensor", length: int) -> None:
        """Move the texts at these places to the front."""
        count = len(rows)
        for stored in (*self._keys, *self._values):
            stored[:count, :, :length] = stored[rows, :, :length]
        self._mask[:count] = self._mask[rows]
        self.places[:count] = self.places[rows]
        self.prepare(bucket(count), length)

    def prepare(self, rows: int, length: int) -> None:
        """Get the step over the first rows ready to append at `length`.

        Raises:
            RuntimeError: the step cannot be captured, or a replay differs from it.
        """
        cache = self._open_cache(rows)
        if rows not in self._steps:
            self._steps[rows] = self._capture(rows, length)
        _set_length(cache, length)

    def step(self, rows: int) -> "torch.Tensor":
        """Return the logits after the tokens in `tokens`, (rows, vocabulary)."""
        return self._steps[rows]()

    def _open_cache(self, rows: int) -> Any:
        """Return transformers' static cache over the first rows."""
        import torch
        from transformers.cache_utils import StaticCache, StaticLayer

        if rows in self._caches:
            return self._caches[rows]
        cache = StaticCache(config=self.network.config, max_cache_len=self.width)
        if any(type(layer) is not StaticLayer for layer in cache.layers):
            raise ValueError("its static cache is not of keys and values alone")
        for layer, keys, values in zip(cache.layers, self._keys, self._values, strict=True):
            layer.keys = keys[:rows]
            layer.values = values[:rows]
            layer.dtype = keys.dtype
            layer.device = keys.device
            layer.cumulative_length = torch.zeros((), dtype=torch.long, device=keys.device)
            layer.is_initialized = True
        self._caches[rows] = cache
        return cache

    def _forward(self, rows: int) -> "torch.Tensor":
        output = self.network(
            input_ids=self.tokens[:rows],
            attention_mask=self._mask[:rows],
            position_ids=self.places[:rows],
            past_key_values=self._caches[rows],
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _capture(self, rows: int, length: int) -> "Callable[[], torch.Tensor]":
        """Return the step over the first rows: a graph's replay, or without a GPU the step itself.

        What the rehearsals write at `length` is written over by the first true step.
        """
        import torch

        if self.network.device.type != "cuda":
            return lambda: self._forward(rows)
        cache = self._caches[rows]
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(2):
                _set_length(cache, length)
                plain = self._forward(rows)
        torch.cuda.current_stream().wait_stream(beside)
        _set_length(cache, length)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            logits = self._forward(rows)
        _set_length(cache, length)
        graph.replay()
        if not torch.allclose(logits, plain, **CLOSE, equal_nan=True):
            raise RuntimeError("a replayed graph gives other numbers than the model")

        def replay() -> torch.Tensor:
            graph.replay()
            return logits

        return replay


def open_decoder(network: Any, graphs: bool) -> Decoder:
    """Return the decoder that suits the model's device."""
    use_graphs = graphs and network.device.type == "cuda"
    return GraphDecoder(network) if use_graphs else Decoder(network)


def bucket(rows: int) -> int:
    """Return the least power of two that is not below `rows`."""
    return 1 << (rows - 1).bit_length()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a GPU's memory ran out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def positions(mask: "torch.Tensor") -> "torch.Tensor":
    """Return positions that count real tokens only."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def _set_length(cache: Any, length: int) -> None:
    for layer in cache.layers:
        layer.cumulative_length.fill_(length)
