"""Writes one JSON file for each diffusion transformer beside this script: the model under the names of its own repository and under those
of diffusers, LoRA files under either, and what each gives on either.

The mapping is that of diffusers' converters of checkpoints (src/diffusers/loaders/single_file_utils.py), run twice: once on the update of
each layer of the model's own, and once on a checkpoint whose elements are numbers, which tells where each element goes. Where diffusers has
a converter of LoRA files too (loaders/lora_conversion_utils.py), its result is computed and compared, and so is the
model after diffusers loaded and fused the file; the differences are listed below.

Element i of a tensor is ((7 i + 13 seed) mod 251) - 125. The seed of a base's tensor is its place in the list, from 1 on, those of module n of
a LoRA file are 2n + 1 for lora_down and 2n + 2 for lora_up, n from 0 on. All results are multiples of 1/2 and exact in float32; `expected` has the
first 16 digits of the SHA-256 of each tensor of the base that changes, in its order, and 0 for the others. `differences` are tensors of the base with the
seed of what is added to them as it is: `diff` of a weight, `diff_b` of a bias, `diff_m` of a modulation. Run with torch, diffusers and peft installed: python generate.py
"""
import copy, hashlib, inspect, json, os, re, sys
import numpy as np, torch
import diffusers
from diffusers.loaders import single_file_utils as single, lora_conversion_utils as lora

HERE = os.path.dirname(os.path.abspath(__file__))
RANK, ALPHA = 2, 1.0


def values(shape, seed):
    count = int(np.prod(shape)) if shape else 1
    return ((7 * np.arange(count, dtype=np.int64) + 13 * seed) % 251 - 125).astype(np.float64).reshape(shape)


def digest(array):
    data = np.asarray(array)
    assert np.array_equal(data.astype(np.float32).astype(np.float64), data)
    return hashlib.sha256(np.ascontiguousarray(data.astype("<f4")).tobytes()).hexdigest()


def patched(module, name, changes):
    """A function of diffusers with its numbers for the one size that the model has replaced by this model's."""
    source = inspect.getsource(getattr(module, name))
    for old, new in changes.items():
        assert old in source, (name, old)
        source = source.replace(old, new)
    space = dict(vars(module))
    exec(source, space)
    return space[name]


def linear(out, inner, bias=True):
    return (out, inner, bias)


def layers_of(table):
    result = {}
    for name, shape in table.items():
        if len(shape) == 3 and isinstance(shape[2], bool):
            result[name + ".weight"] = [shape[0], shape[1]]
            if shape[2]:
                result[name + ".bias"] = [shape[0]]
        else:
            result[name] = list(shape)
    return result


# MARK: models

H = 8


def flux():
    table = {"img_in": linear(H, 4), "txt_in": linear(H, 6), "final_layer.linear": linear(4, H), "final_layer.adaLN_modulation.1": linear(2 * H, H)}
    for part, width in [("time_in", 256), ("guidance_in", 256), ("vector_in", 5)]:
        table[part + ".in_layer"], table[part + ".out_layer"] = linear(H, width), linear(H, H)
    for stream in ["img", "txt"]:
        front = "double_blocks.0." + stream
        table |= {front + "_mod.lin": linear(6 * H, H), front + "_attn.qkv": linear(3 * H, H), front + "_attn.proj": linear(H, H)}
        table |= {front + "_attn.norm.query_norm.scale": [H], front + "_attn.norm.key_norm.scale": [H]}
        table |= {front + "_mlp.0": linear(4 * H, H), front + "_mlp.2": linear(H, 4 * H)}
    table |= {"single_blocks.0.linear1": linear(7 * H, H), "single_blocks.0.linear2": linear(H, 5 * H), "single_blocks.0.modulation.lin": linear(3 * H, H)}
    table |= {"single_blocks.0.norm.query_norm.scale": [H], "single_blocks.0.norm.key_norm.scale": [H]}
    model = diffusers.FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=H, num_attention_heads=1, joint_attention_dim=6,
        pooled_projection_dim=5, guidance_embeds=True, axes_dims_rope=(2, 2, 4))
    convert = patched(single, "convert_flux_transformer_checkpoint_to_diffusers", {"3072": str(H)})
    kohya = patched(lora, "_convert_kohya_flux_lora_to_diffusers", {"3072": str(H), "12288": str(4 * H)})
    peft = patched(lora, "_convert_fal_kontext_lora_to_diffusers", {"3072": str(H), "num_layers = 19": "num_layers = 1", "num_single_layers = 38": "num_single_layers = 1"})
    return table, model, convert, {"kohya": kohya, "peft": peft}


def chroma():
    table = {"img_in": linear(H, 4), "txt_in": linear(H, 6), "final_layer.linear": linear(4, H)}
    for stream in ["img", "txt"]:
        front = "double_blocks.0." + stream
        table |= {front + "_attn.qkv": linear(3 * H, H), front + "_attn.proj": linear(H, H)}
        table |= {front + "_attn.norm.query_norm.scale": [H], front + "_attn.norm.key_norm.scale": [H]}
        table |= {front + "_mlp.0": linear(4 * H, H), front + "_mlp.2": linear(H, 4 * H)}
    table |= {"single_blocks.0.linear1": linear(7 * H, H), "single_blocks.0.linear2": linear(H, 5 * H)}
    table |= {"single_blocks.0.norm.query_norm.scale": [H], "single_blocks.0.norm.key_norm.scale": [H]}
    front = "distilled_guidance_layer."
    table |= {front + "in_proj": linear(5, 64), front + "out_proj": linear(H, 5), front + "norms.0.scale": [5]}
    table |= {front + "layers.0.in_layer": linear(5, 5), front + "layers.0.out_layer": linear(5, 5)}
    model = diffusers.ChromaTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=H, num_attention_heads=1, joint_attention_dim=6, axes_dims_rope=(2, 2, 4),
        approximator_num_channels=64, approximator_hidden_dim=5, approximator_layers=1)
    return table, model, patched(single, "convert_chroma_transformer_checkpoint_to_diffusers", {"3072": str(H)}), {}


def flux2():
    table = {"img_in": linear(H, 4, False), "txt_in": linear(H, 6, False), "final_layer.linear": linear(4, H, False)}
    table |= {"final_layer.adaLN_modulation.1": linear(2 * H, H, False), "single_stream_modulation.lin": linear(3 * H, H, False)}
    for stream in ["img", "txt"]:
        table["double_stream_modulation_" + stream + ".lin"] = linear(6 * H, H, False)
        front = "double_blocks.0." + stream
        table |= {front + "_attn.qkv": linear(3 * H, H, False), front + "_attn.proj": linear(H, H, False)}
        table |= {front + "_attn.norm.query_norm.scale": [H], front + "_attn.norm.key_norm.scale": [H]}
        table |= {front + "_mlp.0": linear(6 * H, H, False), front + "_mlp.2": linear(H, 3 * H, False)}
    for part in ["time_in", "guidance_in"]:
        table[part + ".in_layer"], table[part + ".out_layer"] = linear(H, 16, False), linear(H, H, False)
    table |= {"single_blocks.0.linear1": linear(9 * H, H, False), "single_blocks.0.linear2": linear(H, 4 * H, False)}
    table |= {"single_blocks.0.norm.query_norm.scale": [H], "single_blocks.0.norm.key_norm.scale": [H]}
    model = diffusers.Flux2Transformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=H, num_attention_heads=1, joint_attention_dim=6,
        timestep_guidance_channels=16, axes_dims_rope=(2, 2, 2, 2))
    convert = single.convert_flux2_transformer_checkpoint_to_diffusers
    return table, model, convert, {"kohya": lora._convert_kohya_flux2_lora_to_diffusers, "comfy": lora._convert_non_diffusers_flux2_lora_to_diffusers}


def hunyuan():
    table = {"img_in.proj.weight": [H, 4, 1, 2, 2], "img_in.proj.bias": [H], "txt_in.input_embedder": linear(H, 6)}
    for part, width in [("txt_in.t_embedder", 256), ("time_in", 256), ("guidance_in", 256)]:
        table[part + ".mlp.0"], table[part + ".mlp.2"] = linear(H, width), linear(H, H)
    table |= {"txt_in.c_embedder.linear_1": linear(H, 6), "txt_in.c_embedder.linear_2": linear(H, H)}
    front = "txt_in.individual_token_refiner.blocks.0."
    for norm in ["norm1", "norm2"]:
        table |= {front + norm + ".weight": [H], front + norm + ".bias": [H]}
    table |= {front + "self_attn_qkv": linear(3 * H, H), front + "self_attn_proj": linear(H, H), front + "mlp.fc1": linear(4 * H, H)}
    table |= {front + "mlp.fc2": linear(H, 4 * H), front + "adaLN_modulation.1": linear(2 * H, H)}
    table |= {"vector_in.in_layer": linear(H, 5), "vector_in.out_layer": linear(H, H)}
    for stream in ["img", "txt"]:
        front = "double_blocks.0." + stream
        table |= {front + "_mod.linear": linear(6 * H, H), front + "_attn_qkv": linear(3 * H, H), front + "_attn_proj": linear(H, H)}
        table |= {front + "_attn_q_norm.weight": [H], front + "_attn_k_norm.weight": [H]}
        table |= {front + "_mlp.fc1": linear(4 * H, H), front + "_mlp.fc2": linear(H, 4 * H)}
    table |= {"single_blocks.0.linear1": linear(7 * H, H), "single_blocks.0.linear2": linear(H, 5 * H), "single_blocks.0.modulation.linear": linear(3 * H, H)}
    table |= {"single_blocks.0.q_norm.weight": [H], "single_blocks.0.k_norm.weight": [H]}
    table |= {"final_layer.linear": linear(16, H), "final_layer.adaLN_modulation.1": linear(2 * H, H)}
    model = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=1, attention_head_dim=H, num_layers=1, num_single_layers=1, num_refiner_layers=1,
        text_embed_dim=6, pooled_projection_dim=5, rope_axes_dim=(2, 2, 4))
    sizes = {"hidden_size = 3072": f"hidden_size = {H}"}
    convert = patched(single, "convert_hunyuan_video_transformer_to_diffusers", sizes)
    return table, model, convert, {"comfy": patched(lora, "_convert_hunyuan_video_lora_to_diffusers", sizes)}


def lumina2():
    hidden, own = 18, 6
    model = diffusers.Lumina2Transformer2DModel(
        in_channels=4, hidden_size=hidden, num_layers=1, num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=1,
        axes_dim_rope=(2, 2, 2), axes_lens=(4, 4, 4), cap_feat_dim=6)
    feed = model.layers[0].feed_forward.linear_1.weight.shape[0]
    wide = model.time_caption_embed.timestep_embedder.linear_2.weight.shape[0]
    table = {"x_embedder": linear(hidden, 16), "t_embedder.mlp.0": linear(wide, 256), "t_embedder.mlp.2": linear(wide, wide)}
    table |= {"cap_embedder.0.weight": [6], "cap_embedder.1": linear(hidden, 6), "final_layer.linear": linear(16, hidden)}
    table |= {"final_layer.adaLN_modulation.1": linear(hidden, wide)}
    for blocks in ["layers", "noise_refiner", "context_refiner"]:
        front = blocks + ".0."
        table |= {front + "attention.qkv": linear(hidden + 2 * own, hidden, False), front + "attention.out": linear(hidden, hidden, False)}
        table |= {front + "attention.q_norm.weight": [own], front + "attention.k_norm.weight": [own]}
        table |= {front + "feed_forward.w1": linear(feed, hidden, False), front + "feed_forward.w2": linear(hidden, feed, False)}
        table |= {front + "feed_forward.w3": linear(feed, hidden, False)}
        for norm in ["attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"]:
            table[front + norm + ".weight"] = [hidden]
        if blocks != "context_refiner":
            table[front + "adaLN_modulation.1"] = linear(4 * hidden, wide)
    sizes = {"q_dim = 2304": f"q_dim = {hidden}", "v_dim = 768": f"v_dim = {own}"}
    convert = patched(single, "convert_lumina2_to_diffusers", sizes)
    return table, model, convert, {"comfy": patched(lora, "_convert_non_diffusers_lumina2_lora_to_diffusers", {"[2304, 768, 768]": f"[{hidden}, {own}, {own}]"})}


def z_image():
    hidden = 8
    model = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=hidden, n_layers=1, n_refiner_layers=1, n_heads=1, n_kv_heads=1, cap_feat_dim=6, axes_dims=[2, 2, 4],
        axes_lens=[4, 4, 4])
    state = model.state_dict()
    feed = state["layers.0.feed_forward.w1.weight"].shape[0]
    table = {"x_embedder": linear(hidden, 16), "cap_embedder.0.weight": [6], "cap_embedder.1": linear(hidden, 6)}
    for name in ["t_embedder.mlp.0", "t_embedder.mlp.2"]:
        table[name] = linear(*state[name + ".weight"].shape)
    wide = state["layers.0.adaLN_modulation.0.weight"].shape[1]
    table |= {"final_layer.linear": linear(16, hidden), "final_layer.adaLN_modulation.1": linear(hidden, wide)}
    table |= {name: list(state[name].shape) for name in ["x_pad_token", "cap_pad_token"]}
    for blocks in ["layers", "noise_refiner", "context_refiner"]:
        front = blocks + ".0."
        table |= {front + "attention.qkv": linear(3 * hidden, hidden, False), front + "attention.out": linear(hidden, hidden, False)}
        table |= {front + "attention.q_norm.weight": [hidden], front + "attention.k_norm.weight": [hidden]}
        table |= {front + "feed_forward.w1": linear(feed, hidden, False), front + "feed_forward.w2": linear(hidden, feed, False)}
        table |= {front + "feed_forward.w3": linear(feed, hidden, False)}
        for norm in ["attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"]:
            table[front + norm + ".weight"] = [hidden]
        if blocks != "context_refiner":
            table[front + "adaLN_modulation.0"] = linear(4 * hidden, wide)
    return table, model, single.convert_z_image_transformer_checkpoint_to_diffusers, {}


def sd3():
    table = {"x_embedder.proj.weight": [H, 4, 2, 2], "x_embedder.proj.bias": [H], "pos_embed": [1, 4, H], "context_embedder": linear(H, 6)}
    table |= {"t_embedder.mlp.0": linear(H, 256), "t_embedder.mlp.2": linear(H, H), "y_embedder.mlp.0": linear(H, 5), "y_embedder.mlp.2": linear(H, H)}
    table |= {"final_layer.linear": linear(16, H), "final_layer.adaLN_modulation.1": linear(2 * H, H)}
    for block in [0, 1]:
        for stream in ["x", "context"]:
            front = f"joint_blocks.{block}.{stream}_block."
            isLast, isDual = block == 1 and stream == "context", block == 0 and stream == "x"
            table |= {front + "attn.qkv": linear(3 * H, H), front + "attn.ln_q.weight": [4], front + "attn.ln_k.weight": [4]}
            table[front + "adaLN_modulation.1"] = linear((2 if isLast else 9 if isDual else 6) * H, H)
            if isDual:
                table |= {front + "attn2.qkv": linear(3 * H, H), front + "attn2.ln_q.weight": [4], front + "attn2.ln_k.weight": [4]}
                table[front + "attn2.proj"] = linear(H, H)
            if not isLast:
                table |= {front + "attn.proj": linear(H, H), front + "mlp.fc1": linear(4 * H, H), front + "mlp.fc2": linear(H, 4 * H)}
    model = diffusers.SD3Transformer2DModel(
        sample_size=4, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=2, joint_attention_dim=6, caption_projection_dim=H,
        pooled_projection_dim=5, out_channels=4, pos_embed_max_size=2, dual_attention_layers=(0,), qk_norm="rms_norm")
    return table, model, single.convert_sd3_transformer_checkpoint_to_diffusers, {}


def wan():
    hidden, feed = 12, 20
    table = {"patch_embedding.weight": [hidden, 4, 1, 2, 2], "patch_embedding.bias": [hidden], "head.modulation": [1, 2, hidden]}
    table |= {"text_embedding.0": linear(hidden, 6), "text_embedding.2": linear(hidden, hidden), "head.head": linear(16, hidden)}
    table |= {"time_embedding.0": linear(hidden, 16), "time_embedding.2": linear(hidden, hidden), "time_projection.1": linear(6 * hidden, hidden)}
    table |= {"img_emb.proj.0.weight": [5], "img_emb.proj.0.bias": [5], "img_emb.proj.1": linear(5, 5), "img_emb.proj.3": linear(hidden, 5)}
    table |= {"img_emb.proj.4.weight": [hidden], "img_emb.proj.4.bias": [hidden]}
    front = "blocks.0."
    table |= {front + "modulation": [1, 6, hidden], front + "norm3.weight": [hidden], front + "norm3.bias": [hidden]}
    for attention, more in [("self_attn", []), ("cross_attn", ["k_img", "v_img"])]:
        for name in ["q", "k", "v", "o"] + more:
            table[f"{front}{attention}.{name}"] = linear(hidden, hidden)
        for name in ["norm_q", "norm_k"] + (["norm_k_img"] if more else []):
            table[f"{front}{attention}.{name}.weight"] = [hidden]
    table |= {front + "ffn.0": linear(feed, hidden), front + "ffn.2": linear(hidden, feed)}
    model = diffusers.WanTransformer3DModel(
        num_attention_heads=1, attention_head_dim=hidden, in_channels=4, out_channels=4, text_dim=6, freq_dim=16, ffn_dim=feed, num_layers=1,
        image_dim=5, added_kv_proj_dim=hidden)
    return table, model, single.convert_wan_transformer_to_diffusers, {"comfy": lora._convert_non_diffusers_wan_lora_to_diffusers}


def wan_vace():
    table, _, convert, _ = wan()
    hidden = 12
    for name in [name for name in table if name.startswith("img_emb") or "_img" in name]:
        del table[name]
    table |= {name.replace("blocks.", "vace_blocks.", 1): shape for name, shape in table.items() if name.startswith("blocks.")}
    table |= {"vace_blocks.0.before_proj": linear(hidden, hidden), "vace_blocks.0.after_proj": linear(hidden, hidden)}
    table |= {"vace_patch_embedding.weight": [hidden, 8, 1, 2, 2], "vace_patch_embedding.bias": [hidden]}
    model = diffusers.WanVACETransformer3DModel(
        num_attention_heads=1, attention_head_dim=hidden, in_channels=4, out_channels=4, text_dim=6, freq_dim=16, ffn_dim=20, num_layers=1,
        vace_layers=[0], vace_in_channels=8)
    return table, model, convert, {}


def qwen():
    model = diffusers.QwenImageTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, attention_head_dim=H, num_attention_heads=1, joint_attention_dim=6, axes_dims_rope=(2, 2, 4))
    table = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    converter = lora._convert_non_diffusers_qwen_lora_to_diffusers
    return table, model, lambda state: dict(state), {"bare": converter, "kohya": converter, "comfy": converter}


MODELS = {"flux": flux, "chroma": chroma, "wan-vace": wan_vace, "flux2": flux2, "hunyuan-video": hunyuan, "lumina2": lumina2, "z-image": z_image, "sd3": sd3, "wan": wan, "qwen-image": qwen}

# Where diffusers' converter of LoRA files and its converter of the model's checkpoint say different things, the checkpoint's is right, since
# the model that is loaded has its layers: FLUX.2's leaves the halves of the last modulation as they are in the repository, FLUX.1's drops alpha
# of the final layer, and HunyuanVideo's lets the halves of lora_A change places with those of lora_B.
EXCEPTIONS = {
    ("flux2", "comfy"): {"norm_out.linear"}, ("flux", "kohya"): {"proj_out", "norm_out.linear"}, ("hunyuan-video", "comfy"): {"norm_out.linear"},
}

# Layers that diffusers' converters of LoRA files do not take, or break: HunyuanVideo's cuts lora_A of the refiner's q, k and v in three.
NOT_TAKEN = {
    ("flux", "kohya"): [r"^img_in", r"^txt_in"], ("flux", "peft"): [r"_in$", r"_in\.", r"adaLN_modulation"], ("flux2", "kohya"): [r"^guidance_in", r"adaLN_modulation", r"_modulation"],
    ("hunyuan-video", "comfy"): [r"self_attn_qkv"], ("lumina2", "comfy"): [r"embedder", r"^final_layer"], ("wan", "comfy"): [],
}


# MARK: files

class Model:
    def __init__(self, name):
        table, model, self.convert, self.loras = MODELS[name]()
        self.name, self.model = name, model
        self.own = layers_of(table)
        self.theirs = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        converted = self.converted({key: np.zeros(shape) for key, shape in self.own.items()})
        missing = {key: self.theirs[key] for key in self.theirs if key not in converted}
        assert not missing or set(missing) <= {"pos_embed.pos_embed"}, missing
        assert all(list(converted[key].shape) == self.theirs[key] for key in self.theirs), {
            key: (converted[key].shape, self.theirs[key]) for key in self.theirs if list(converted[key].shape) != self.theirs[key]}
        assert set(converted) == set(self.theirs), set(converted) ^ set(self.theirs)

    def converted(self, state):
        result = self.convert({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
        return {key: value.numpy() for key, value in result.items()}

    def restored(self, state):
        """The model's own tensors of diffusers' ones: each element of a numbered checkpoint tells where it came from."""
        offset, numbered = 0, {}
        for key, shape in self.own.items():
            count = int(np.prod(shape))
            numbered[key] = np.arange(offset, offset + count, dtype=np.int64).reshape(shape)
            offset += count
        flat = np.full(offset, np.nan)
        for key, places in self.converted(numbered).items():
            flat[places.reshape(-1)] = state[key].reshape(-1)
        result, offset = {}, 0
        for key, shape in self.own.items():
            count = int(np.prod(shape))
            result[key] = flat[offset:offset + count].reshape(shape)
            offset += count
        return result

    def isTaken(self, form, module):
        """Whether diffusers' converter of LoRA files takes the layer."""
        return not any(re.search(pattern, module) for pattern in NOT_TAKEN.get((self.name, form), []))

    def linears(self, shapes):
        return [key.removesuffix(".weight") for key, shape in shapes.items() if key.endswith(".weight") and len(shape) == 2]


FORMS = {
    "kohya": (lambda path: "lora_unet_" + path.replace(".", "_"), "lora_down.weight", "lora_up.weight", True),
    "comfy": (lambda path: "diffusion_model." + path, "lora_A.weight", "lora_B.weight", False),
    "comfy-alpha": (lambda path: "diffusion_model." + path, "lora_down.weight", "lora_up.weight", True),
    "bare": (lambda path: path, "lora_down.weight", "lora_up.weight", True),
    "diffsynth": (lambda path: path, "lora_A.default.weight", "lora_B.default.weight", False),
    "diffsynth-pipe": (lambda path: "pipe.dit." + path, "lora_A.default.weight", "lora_B.default.weight", False),
    "peft": (lambda path: "base_model.model." + path, "lora_A.weight", "lora_B.weight", False),
    "transformer": (lambda path: "transformer." + path, "lora_A.weight", "lora_B.weight", False),
}


def adapter(form, modules, shapes, seed):
    front, down, up, hasAlpha = FORMS[form]
    tensors, updates = [], {}
    for number, module in enumerate(modules):
        out, inner = shapes[module + ".weight"]
        seeds = seed + 2 * number, seed + 2 * number + 1
        tensors.append((f"{front(module)}.{down}", [RANK, inner], seeds[0]))
        tensors.append((f"{front(module)}.{up}", [out, RANK], seeds[1]))
        if hasAlpha:
            tensors.append((f"{front(module)}.alpha", [], None))
        update = values([out, RANK], seeds[1]) @ values([RANK, inner], seeds[0])
        updates[module + ".weight"] = update * (ALPHA / RANK if hasAlpha else 1)
    return tensors, updates


def library(model, form, tensors):
    """What diffusers' converter of LoRA files makes of it, as updates."""
    state = {name: torch.tensor(ALPHA if seed is None else values(shape, seed)) for name, shape, seed in tensors}
    result = model.loras[form](state)
    updates = {}
    for key in result:
        if key.endswith(".lora_A.weight"):
            path = key.removesuffix(".lora_A.weight")
            updates[path.removeprefix("transformer.") + ".weight"] = (result[path + ".lora_B.weight"] @ result[key]).numpy()
    return updates


def fused(model, state):
    """The model after diffusers loaded the file and fused it, under its own names."""
    own = copy.deepcopy(model.model)
    own.load_state_dict({key: torch.tensor(values(shape, 1), dtype=torch.float32) for key, shape in model.theirs.items()})
    # FLUX.1's converter leaves the front away from the last layers.
    state = {"transformer." + key.removeprefix("transformer."): value.to(torch.float32) for key, value in state.items()}
    own.load_lora_adapter(state, prefix="transformer")
    own.fuse_lora()
    own.unload_lora()
    return {key: value.numpy().astype(np.float64) for key, value in own.state_dict().items()}


def whole(shapes, updates):
    return {key: updates.get(key, np.zeros(shape)) for key, shape in shapes.items()}


def write(name):
    model = Model(name)
    small = lambda shapes: {key: shape for key, shape in shapes.items() if np.prod(shape) <= 6000}
    bases = {"own": small(model.own), "diffusers": small(model.theirs)}
    own = [module for module in model.linears(model.own) if module + ".weight" in bases["own"]]
    theirs = [module for module in model.linears(model.theirs) if module + ".weight" in bases["diffusers"]]
    some = [module for module in theirs if module.endswith(("to_q", "to_v", "add_k_proj", "proj_mlp"))]
    cases = []

    def case(forms, side, modules, target):
        shapes = model.own if side == "own" else model.theirs
        hasAlpha = {FORMS[form][3] for form in forms}
        assert len(hasAlpha) == 1
        for form in forms:
            tensors, updates = adapter(form, modules, shapes, 1)
            both = {side: whole(shapes, updates)}
            if side == "own":
                both["diffusers"] = model.converted(both["own"])
                if form in model.loras:
                    compare(model, form, [module for module in modules if model.isTaken(form, module)], shapes)
            else:
                if form == "transformer":
                    result = fused(model, {key: torch.tensor(values(shape, seed)) for key, shape, seed in tensors})
                    assert set(result) == set(model.theirs)
                    assert all(np.array_equal(result[key], values(model.theirs[key], 1) + both["diffusers"][key]) for key in result)
                    print("   ", name, len(modules), "modules as diffusers fuses them")
                both["own"] = model.restored(both["diffusers"])
        expected = [
            digest(values(shape, index + 1) + both[target][key])[:16] if np.any(both[target][key]) else 0
            for index, (key, shape) in enumerate(bases[target].items())]
        assert any(expected)
        cases.append({"forms": forms, "names": side, "modules": "own" if modules is own else "some" if modules is some else "diffusers",
                      "base": target, "alpha": ALPHA if hasAlpha == {True} else 0, "expected": expected})

    synth = ["diffsynth", "diffsynth-pipe"] if name in ["wan", "qwen-image"] else []
    case(["kohya", "bare", "comfy-alpha"], "own", own, "diffusers")
    peft = ["peft"] if name in ["flux", "flux2"] else []
    case(["comfy"] + synth + peft, "own", own, "diffusers")
    if name != "qwen-image":
        case(["bare", "kohya"], "own", own, "own")
        case(["transformer"], "diffusers", theirs, "own")
        case(["bare", "kohya"], "diffusers", theirs, "own")
        case(["transformer"], "diffusers", some, "own")
        case(["transformer"], "diffusers", theirs, "diffusers")
    if name == "wan":
        cases.append(distilled(model, own, bases, ["comfy-alpha", "bare"], ["blocks.0.modulation", "head.modulation"]))
        cases.append(distilled(model, own, bases, ["kohya"], []))
    document = {
        "class": type(model.model).__name__, "diffusers": diffusers.__version__, "rank": RANK, "bases": bases,
        "modules": {"own": own, "diffusers": theirs, "some": some}, "cases": cases}
    with open(os.path.join(HERE, name + ".json"), "w") as file:
        text = json.dumps(document, separators=(",", ":"))
        file.write(re.sub(r'("bases"|"own":|"diffusers":|"some":|"modules":\{|\{"forms")', r"\n\1", text) + "\n")
    print(name, len(bases["own"]), len(bases["diffusers"]), len(cases), os.path.getsize(os.path.join(HERE, name + ".json")))


def distilled(model, modules, bases, forms, more):
    """Factors with differences of every bias beside them, and of the norms, the convolution and modulations, as extraction scripts write them."""
    others = ["blocks.0.norm3.weight", "blocks.0.norm3.bias", "blocks.0.self_attn.norm_q.weight", "blocks.0.cross_attn.norm_k_img.weight",
              "patch_embedding.weight", "patch_embedding.bias", "img_emb.proj.4.weight", "img_emb.proj.4.bias"] + more
    names = [module + ".bias" for module in modules] + others
    tensors, updates = adapter("comfy-alpha", modules, model.own, 1)
    state = {name: torch.tensor(ALPHA if seed is None else values(shape, seed)) for name, shape, seed in tensors}
    for index, key in enumerate(names):
        updates[key] = values(model.own[key], 100 + index)
        path, leaf = key.rsplit(".", 1)
        state["diffusion_model." + path + {"weight": ".diff", "bias": ".diff_b", "modulation": ".diff_m"}[leaf]] = torch.tensor(updates[key])
    mine = model.converted(whole(model.own, updates))
    # diffusers' converter leaves out alpha of what is in no block, and all that is no bias of a layer with factors.
    inBlocks = {key: value for key, value in state.items() if ".blocks." in key and ".norm" not in key and "diff_m" not in key}
    said = model.loras["comfy"](inBlocks)
    biases = {key.removeprefix("transformer.").replace(".lora_B.bias", ".bias"): value.numpy() for key, value in said.items() if key.endswith(".bias")}
    assert len(biases) == 12 and all(np.array_equal(mine[key], value) for key, value in biases.items())
    return {
        "forms": forms, "names": "own", "modules": "own", "base": "diffusers", "alpha": ALPHA,
        "differences": {key: 100 + index for index, key in enumerate(names)},
        "expected": [digest(values(shape, index + 1) + mine[key])[:16] if np.any(mine[key]) else 0 for index, (key, shape) in enumerate(bases["diffusers"].items())]}


def compare(model, form, modules, shapes):
    """Whether diffusers' converter of LoRA files has the same updates on the same layers."""
    tensors, updates = adapter(form, modules, shapes, 1)
    mine, said = model.converted(whole(shapes, updates)), library(model, form, tensors)
    skip = EXCEPTIONS.get((model.name, form), set())
    for key, update in mine.items():
        path = key.removesuffix(".weight")
        if np.any(update) and path not in skip:
            assert np.array_equal(said[key], update), (model.name, form, key)
    assert set(said) == {key for key, update in mine.items() if np.any(update)}, set(said) ^ {key for key, update in mine.items() if np.any(update)}
    state = {key: torch.tensor(ALPHA if seed is None else values(shape, seed)) for key, shape, seed in tensors}
    result = fused(model, model.loras[form](state))
    assert all(np.array_equal(result[key], values(model.theirs[key], 1) + said.get(key, 0)) for key in result)
    assert all(not np.array_equal(said[path + ".weight"], mine[path + ".weight"]) for path in skip)
    print("   ", model.name, form, len(modules), "modules as diffusers converts and fuses them")


for name in sys.argv[1:] or MODELS:
    write(name)
