"""Writes memory.json: where the tensors of a file of the Hub are in the memory of transformers.

    python memory.py

Needs transformers 5.24.0 and torch. Of each type of model in TYPES a small one is made whose elements are numbered, saved under the Hub's names, and
each matrix of the file found again among the parameters by its numbers: the parameter, and where that has one more dimension or more
rows the expert and the first row.
"""

import json
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

TYPES = {}
COMMON = dict(vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=4, max_position_embeddings=64,
              bos_token_id=0, eos_token_id=1, pad_token_id=0, tie_word_embeddings=False)
EXPERTS = dict(num_experts=2, num_local_experts=2, n_routed_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, n_shared_experts=1, num_shared_experts=1,
               shared_expert_intermediate_size=6, first_k_dense_replace=1, n_group=1, topk_group=1, decoder_sparse_step=1)
LATENT = dict(q_lora_rank=6, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=3, head_dim=2)
LINEAR = dict(linear_conv_kernel_dim=3, linear_key_head_dim=2, linear_value_head_dim=4, linear_num_key_heads=2, linear_num_value_heads=4,
              layer_types=["linear_attention", "full_attention"])
INDEX = dict(index_n_heads=2, index_head_dim=4, index_topk=4)
LAYERS = dict(mlp_layer_types=["dense", "sparse"])

for name in ("mixtral", "phimoe", "olmoe", "qwen3_moe", "qwen2_moe", "dots1", "glm4_moe", "solar_open", "hy_v3", "cohere2_moe", "mellum", "exaone_moe", "ernie4_5_moe", "afmoe",
             "hunyuan_v1_moe", "minimax_m2", "laguna"):
    TYPES[name] = COMMON | EXPERTS
for name in ("deepseek_v2", "deepseek_v3"):
    TYPES[name] = COMMON | EXPERTS | LATENT
TYPES["glm4_moe_lite"] = COMMON | EXPERTS | LATENT | LAYERS
TYPES["deepseek_v32"] = COMMON | EXPERTS | LATENT | INDEX
TYPES["glm_moe_dsa"] = COMMON | EXPERTS | LATENT | INDEX | LAYERS
TYPES["qwen3_next"] = COMMON | EXPERTS | LINEAR
TYPES["qwen3_5_text"] = COMMON | LINEAR
TYPES["lfm2_moe"] = COMMON | EXPERTS | dict(layer_types=["conv", "full_attention"], num_dense_layers=1)
TYPES["jamba"] = COMMON | EXPERTS | dict(mamba_d_state=4, mamba_d_conv=3, mamba_dt_rank=2, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1, use_mamba_kernels=False)
TYPES["nemotron_h"] = COMMON | EXPERTS | dict(layers_block_type=["mamba", "moe", "attention", "mlp"], num_hidden_layers=4, mamba_num_heads=2, mamba_head_dim=4, ssm_state_size=4, n_groups=1,
                                              moe_shared_expert_intermediate_size=6)
TYPES["kimi_linear"] = COMMON | EXPERTS | LATENT | dict(q_lora_rank=None, linear_attn_config=dict(head_dim=4, num_heads=2, short_conv_kernel_size=3, kda_layers=[1], full_attn_layers=[2]))
for name in ("exaone", "gpt_neox", "gpt2", "nomic_bert", "gemma3n_text"):
    TYPES[name] = COMMON
TYPES["gemma3n_text"] = COMMON | dict(layer_types=["sliding_attention", "full_attention"], hidden_size_per_layer_input=4, vocab_size_per_layer_input=8, altup_num_inputs=4, laurel_rank=2,
                                      num_kv_shared_layers=0, activation_sparsity_pattern=[0.95, 0.0])
TYPES["gpt2"] = dict(vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=16, tie_word_embeddings=False)


def numbered(kind):
    config = transformers.CONFIG_MAPPING[kind](**TYPES[kind])
    classes = [transformers.AutoModelForCausalLM, transformers.AutoModel]
    model = next(own for own in (c._model_mapping.get(type(config), None) for c in classes) if own)(config).float()
    place, first = {}, 1
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.arange(first, first + value.numel()).view(value.shape).float())
            place[name] = (first, tuple(value.shape))
            first += value.numel()
    assert first < 1 << 24, kind
    return model, place


def find(tensor, place):
    """The parameter, the expert, and the first row, of a matrix as it is; nil where it is elsewhere."""
    for name, (first, shape) in place.items():
        count = 1
        for size in shape:
            count *= size
        start = int(tensor.flatten()[0]) - first
        if 0 <= start < count:
            rows = shape[-2] if len(shape) > 1 else 1
            own = torch.arange(first + start, first + start + tensor.numel()).float().view(tensor.shape)
            if tensor.shape[-1] != shape[-1] or not torch.equal(own, tensor):
                return None
            row = start // shape[-1]
            return [name, row // rows if len(shape) > 2 else None, row % rows]
    return None


def main():
    result = {}
    for kind in TYPES:
        try:
            model, place = numbered(kind)
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(folder)
                tensors = {}
                for file in sorted(Path(folder).glob("*.safetensors")):
                    tensors |= load_file(file)
        except Exception as error:  # noqa: BLE001
            print(kind, "FAILED", type(error).__name__, str(error)[:200])
            continue
        found = {name: find(tensor, place) for name, tensor in sorted(tensors.items()) if tensor.dim() == 2 and name.endswith(".weight")}
        result[kind] = {name: [list(tensors[name].shape)] + where for name, where in found.items() if where}
        print(kind, len(tensors), len(result[kind]), [n for n, w in found.items() if not w])
    lines = [f"{json.dumps(kind)}:" + json.dumps(found, sort_keys=True, separators=(",", ":")) for kind, found in sorted(result.items())]
    (Path(__file__).parent / "memory.json").write_text("{" + ",\n".join(lines) + "}\n")


main()
