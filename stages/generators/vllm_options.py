"""The options of vLLM's engine, and the arguments that follow from them.

On a CPU three things differ from vLLM's defaults, each measured: blocks of 32 tokens (a judge's
shared prefix is cached in whole blocks), no chunked prefill (together with a per-request seed it
kills the engine), and float32 where the processor has no bfloat16 arithmetic (AVX2: about three
times as fast as bfloat16 in software).
"""

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PositiveInt

from stages.generators.chat import ChatOptions
from stages.generators.transformers_loading import refuse_owned
from stages.pretrained.hardware import has_fast_bfloat16
from stages.runtime.models import Model

GIB = 1024**3
CPU_BLOCK_TOKENS = 32
CPU_KV_CACHE_GIB = 1.0


OWNED_ARGUMENTS = {
    "model",
    "tokenizer",
    "revision",
    "code_revision",
    "tokenizer_revision",
    "trust_remote_code",
    "load_format",
    "config_format",
    "hf_config_path",
    "model_loader_extra_config",
}
"""Fields of AsyncEngineArgs that would load something else than what was checked."""

EngineArguments = Annotated[dict[str, Any], AfterValidator(partial(refuse_owned, OWNED_ARGUMENTS))]


@dataclass(frozen=True)
class Options(ChatOptions):
    """Engine settings."""

    dtype: str = "auto"
    """vLLM's name, or "auto".

    "auto" takes the checkpoint's, but float32 on a CPU without bfloat16 arithmetic.
    """
    max_model_len: PositiveInt | None = None
    """Context in tokens; None takes the model's own."""
    max_num_seqs: PositiveInt = 256
    """Sequences decoded at once."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Fraction of a GPU's memory, 0 to 1; None leaves vLLM's default."""
    kv_cache_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Memory for keys and values in GiB; None: 1 on a CPU, and all that remains on a GPU."""
    block_size: PositiveInt | None = None
    """Tokens a cache block; None means 32 on a CPU and vLLM's default on a GPU."""
    enforce_eager: bool | None = None
    """True skips compilation; None means True on a CPU."""
    tensor_parallel_size: PositiveInt = 1
    """GPUs that one model is spread over."""
    concurrency: PositiveInt | None = None
    """Requests in flight; None: twice max_num_seqs, which keeps the engine's queue filled."""
    log: str = ""
    """A file for the engine's warnings; empty keeps them until `close` and then drops them."""
    engine: EngineArguments = field(default_factory=dict)
    """Any further field of vLLM's AsyncEngineArgs; overrides the above."""


def engine_arguments(model: Model, options: Options, on_cpu: bool | None = None) -> dict[str, Any]:
    """Return the fields of vLLM's AsyncEngineArgs.

    Args:
        on_cpu: whether the engine runs on a CPU; None: as the platform of vLLM says, which is
            imported.
    """
    if on_cpu is None:
        from vllm.platforms import current_platform

        on_cpu = bool(current_platform.is_cpu())
    arguments: dict[str, Any] = {
        "model": model.path,
        "revision": model.revision,
        "tokenizer_revision": model.revision,
        "dtype": options.dtype,
        "max_num_seqs": options.max_num_seqs,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "use_tqdm_on_load": False,
        "disable_log_stats": True,
        "enable_log_requests": False,
    }
    kv_cache_gib = options.kv_cache_gib
    optional = {
        "max_model_len": options.max_model_len,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "block_size": options.block_size,
        "enforce_eager": options.enforce_eager,
    }
    if on_cpu:
        # The old environment variable would override the argument and holds whole GiB only.
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
        arguments["enable_chunked_prefill"] = False
        if options.dtype == "auto" and not has_fast_bfloat16():
            arguments["dtype"] = "float32"
        kv_cache_gib = kv_cache_gib or CPU_KV_CACHE_GIB
        optional["block_size"] = options.block_size or CPU_BLOCK_TOKENS
        if options.enforce_eager is None:
            optional["enforce_eager"] = True
    if kv_cache_gib:
        arguments["kv_cache_memory_bytes"] = int(kv_cache_gib * GIB)
    arguments |= {name: value for name, value in optional.items() if value is not None}
    return arguments | options.engine
