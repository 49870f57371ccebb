"""Four ways to sample, one protocol (`stages.runtime.generation.Generator`).

`complete` writes a text; `choose` gives one log-probability per option.

| name         | what answers                        | when                                    |
|--------------|-------------------------------------|-----------------------------------------|
| vllm         | vLLM's async engine in this process | wherever vLLM is installed; the default |
| server       | several OpenAI-compatible endpoints | a cluster: N `vllm serve` replicas      |
| replicas     | vLLM's servers, which the run starts | several GPUs in one machine             |
| transformers | `model.generate`, batched           | no vLLM, or a few hundred short texts   |

`stages.runtime.generator_registry` opens them by name.
"""
