"""Writes this case: the weights of ../mlx-mixed, quantised anew by mlx in its floating-point modes, under the same adapter.

    python generate.py        (mlx 0.32.4, torch, safetensors)

The expected numbers are mlx's own `dequantize` in float32, in which every product is exact; merges are computed in float64 and rounded once.
"""

import json
import shutil
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
OLD = HERE.parent / "mlx-mixed"
GROUPS = {"mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8), "affine": (32, 8)}
OTHER = {"lm_head": "mxfp8", "model.layers.0.mlp.down_proj": "nvfp4", "model.layers.0.self_attn.k_proj": "nvfp4", "model.layers.0.self_attn.v_proj": "mxfp8",
         "model.layers.1.mlp.gate_proj": "affine"}

plain = load_file(OLD / "expected/dequantised.safetensors")
adapter = load_file(OLD / "adapter/adapter_model.safetensors")
config = json.loads((OLD / "base/config.json").read_text())
old = load_file(OLD / "base/model.safetensors")
case = json.loads((OLD / "case.json").read_text())

tensors, dequantised, consumed = {}, {}, {}
settings = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
for name, value in plain.items():
    stem = name.removesuffix(".weight")
    mode = OTHER.get(stem, "mxfp4")
    size, bits = GROUPS[mode]
    if stem in OTHER:
        settings[stem] = {"group_size": size, "bits": bits, "mode": mode}
    parts = dict(zip(("weight", "scales", "biases"), mx.quantize(mx.array(value.numpy()).astype(mx.bfloat16), group_size=size, bits=bits, mode=mode)))
    # In float32: scales and biases of affine codes are widened first.
    wide = [parts[part].astype(mx.float32) if part in parts and mode == "affine" else parts.get(part) for part in ("scales", "biases")]
    dequantised[name] = torch.from_numpy(np.array(mx.dequantize(parts["weight"], *wide, group_size=size, bits=bits, mode=mode, dtype=mx.float32)))
    consumed[name] = [f"{stem}.{part}" for part in parts]
    tensors |= {f"{stem}.{part}": torch.from_numpy(np.array(array.astype(mx.float32))).to(torch.bfloat16) if array.dtype == mx.bfloat16
                else torch.from_numpy(np.array(array)) for part, array in parts.items()}
for name, value in old.items():
    if name not in plain and not name.endswith((".scales", ".biases")):
        tensors[name] = value
config |= {"quantization": settings, "quantization_config": settings}

numbers = json.loads((OLD / "adapter/adapter_config.json").read_text())
exact = {name: value.double() for name, value in dequantised.items()}
changed = case["changed_by_adapter"]
for name in changed:
    front = "base_model.model." + name.removesuffix(".weight")
    start = exact[name] if name in exact else old[name].double()
    exact[name] = start + numbers["lora_alpha"] / numbers["r"] * (adapter[front + ".lora_B.weight"].double() @ adapter[front + ".lora_A.weight"].double())


def rounded(value):
    """float64 to BF16 in one rounding: half to even, by whole steps of its own exponent."""
    array = value.numpy()
    _, exponent = np.frexp(array)
    step = np.exp2(np.maximum(exponent - 8, -133).astype(np.float64))
    return torch.from_numpy((np.rint(array / step) * step).astype(np.float32)).to(torch.bfloat16)


for part in ("base", "adapter", "expected"):
    (HERE / part).mkdir(exist_ok=True)
(HERE / "base/config.json").write_text(json.dumps(config, indent=4))
save_file(tensors, HERE / "base/model.safetensors", {"format": "mlx"})
for file in ("adapter_config.json", "adapter_model.safetensors"):
    shutil.copy(OLD / "adapter" / file, HERE / "adapter" / file)
save_file(dequantised, HERE / "expected/dequantised.safetensors", {"format": "pt"})
save_file({name: rounded(value) for name, value in exact.items()}, HERE / "expected/merged-bf16.safetensors", {"format": "pt"})
save_file({name: exact[name].float() for name in changed}, HERE / "expected/merged-f32.safetensors", {"format": "pt"})
case |= {
    "name": "mlx-float", "what": "modes mxfp4, nvfp4 and mxfp8 of mlx, and a layer of affine codes", "quantisation": settings, "consumed": consumed,
    "dropped_from_base": sorted(part for parts in consumed.values() for part in parts if not part.endswith(".weight")),
    "reference": "mlx's dequantize in float32, which is exact; the update in float64, rounded once",
    "library_check": {"by": "mlx 0.32.4 dequantize", "tensors": len(plain), "max_relative_difference": 0.0},
    "traps": ["a mode of its own for a layer", "scales of one byte, powers of two or E4M3"], "wrong_variants": ["raw-codes"],
}
(HERE / "case.json").write_text(json.dumps(case, indent=1) + "\n")
index = HERE.parent / "index.json"
entries = [entry for entry in json.loads(index.read_text()) if entry["case"] != "mlx-float"]
entries.append({"case": "mlx-float", "format": "mlx", "what": case["what"], "options": {}, "library_check": case["library_check"], "wrong_variants": ["raw-codes"]})
entries.sort(key=lambda entry: entry["case"])
index.write_text(json.dumps(entries, indent=1))
