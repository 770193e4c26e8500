"""Makes mlx-gpt-oss and mlx-llama4: LoRA that mlx-lm trains on stacks of experts, onto the Hub's layout of these.

    pip install 'mlx[cpu]' mlx-lm safetensors numpy
    python Fixtures/dialects/mlx_experts.py

The model, its LoRA layers, the file of the adapter and `fuse` are mlx-lm's. The Hub's layout is written here from what modeling_gpt_oss.py and
modeling_llama4.py of transformers compute: gpt_oss takes gate and up from every other column of `gate_up_proj` (E, in, out), llama4 from its two
halves. The expected numbers are W + scale·(B·A) in float64, rounded once.
"""

import json
import shutil
from pathlib import Path

import mlx.core as mx
import mlx_lm
import numpy as np
from importlib.metadata import version
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import _get_classes
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent
EXPERTS, RANK, SCALE = 3, 2, 2.5

text = dict(
    vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=4,
    num_local_experts=EXPERTS, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=64, tie_word_embeddings=False)
CASES = {
    "mlx-gpt-oss": (
        dict(text, model_type="gpt_oss", architectures=["GptOssForCausalLM"], num_experts_per_tok=2, sliding_window=16,
             num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"]),
        ["model.layers.0.mlp.experts.", "model.layers.1.mlp.experts."]),
    "mlx-llama4": (
        dict(model_type="llama4", architectures=["Llama4ForConditionalGeneration"], text_config=dict(
            text, model_type="llama4_text", intermediate_size=8, intermediate_size_mlp=12, num_experts_per_tok=1, interleave_moe_layer_step=1,
            attention_bias=False, attention_chunk_size=64, use_qk_norm=True, rope_scaling=None, attn_temperature_tuning=4, floor_scale=8192, attn_scale=0.1)),
        ["language_model.model.layers.0.feed_forward.experts."]),
}


def hub(weights, fronts):
    result = {name: value for name, value in weights.items() if not name.startswith(tuple(fronts))}
    for front in fronts:
        gate, up, down = [weights[f"{front}{name}_proj.weight"].transpose(0, 2, 1) for name in ("gate", "up", "down")]
        takes_turns = f"{front}gate_proj.bias" in weights
        join = (lambda a, b: np.stack([a, b], -1).reshape(*a.shape[:-1], -1)) if takes_turns else (lambda a, b: np.concatenate([a, b], -1))
        result |= {front + "gate_up_proj": join(gate, up), front + "down_proj": down}
        if takes_turns:
            result[front + "gate_up_proj_bias"] = join(*[weights[f"{front}{name}_proj.bias"] for name in ("gate", "up")])
            result[front + "down_proj_bias"] = weights[front + "down_proj.bias"]
    return {name: np.ascontiguousarray(value) for name, value in result.items()}


def numbers(model): return {name: np.array(value) for name, value in tree_flatten(model.parameters())}


for case, (config, fronts) in CASES.items():
    random = np.random.default_rng(11)
    kind, arguments = _get_classes(config)
    base = kind(arguments.from_dict(config))
    base.update(tree_unflatten(
        [(name, mx.array(random.normal(size=value.shape).astype(np.float32) * 0.1)) for name, value in tree_flatten(base.parameters())]))
    plain = numbers(base)
    settings = dict(fine_tune_type="lora", num_layers=1, lora_parameters=dict(rank=RANK, scale=SCALE, dropout=0.0))
    base.freeze()
    linear_to_lora_layers(base, 1, settings["lora_parameters"])
    adapter = {name: random.normal(size=value.shape).astype(np.float32) * 0.1 for name, value in tree_flatten(base.trainable_parameters())}

    expected = {name: value.astype(np.float64) for name, value in plain.items()}
    for name in {name.rsplit(".", 1)[0] for name in adapter}:
        a, b = [adapter[f"{name}.lora_{letter}"].astype(np.float64) for letter in "ab"]
        expected[name + ".weight"] += SCALE * (b @ a if a.ndim == 3 else (a @ b).T)
    expected = {name: value.astype(np.float32) for name, value in expected.items()}

    folder = FOLDER / case
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("base", "adapter", "expected"): (folder / part).mkdir(parents=True)
    save_file(hub(plain, fronts), folder / "base/model.safetensors", metadata={"format": "pt"})
    (folder / "base/config.json").write_text(json.dumps(config, indent=1) + "\n")
    mx.save_safetensors(str(folder / "adapter/adapters.safetensors"), {name: mx.array(value) for name, value in adapter.items()})
    (folder / "adapter/adapter_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    trained = kind(arguments.from_dict(config))
    trained.load_weights([(name, mx.array(value)) for name, value in plain.items()])
    trained = load_adapters(trained, str(folder / "adapter"))
    trained.update_modules(tree_unflatten([(name, layer.fuse()) for name, layer in trained.named_modules() if hasattr(layer, "fuse")]))
    fused, result = hub(numbers(trained), fronts), hub(expected, fronts)
    save_file(result, folder / "expected/merged.safetensors")
    save_file(fused, folder / "expected/library.safetensors")
    unchanged = hub(plain, fronts)
    (folder / "case.json").write_text(json.dumps({
        "name": case, "what": "mlx-lm LoRA of stacks of experts, onto the Hub's layout: "
        + ("columns of gate and up take turns" if "gpt" in case else "gate and up are halves of one matrix, which lies transposed"),
        "dialect": "mlx-lm lora", "base": "base", "adapter": "adapter", "expected": "expected/merged.safetensors",
        "changed": sorted(name for name in result if (result[name] != unchanged[name]).any()),
        "library_max_abs": max(float(np.abs(fused[name] - result[name]).max()) for name in result), "missing_in_library": [],
        "versions": {"mlx_lm": mlx_lm.__version__, "mlx": version("mlx")}, "tolerance": {"max_ulp": 1}}, indent=1) + "\n")
