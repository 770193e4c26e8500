"""Writes the models of this folder that CASES names: NAME.gguf, and its part of expected.json.

    python generate.py LLAMA_CPP [NAME ...]

LLAMA_CPP is a checkout of ggml-org/llama.cpp, and the variable LLAMA_CPP_OLD names one from before April 2025 for what is written otherwise since
then. transformers, torch and safetensors are needed. A case makes a small model of transformers,
or where transformers has no class for it the tensors that the Hub's files have, with numbers that are whole eighths, and has llama.cpp's
converter write it in F32, without a vocabulary.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
LLAMA = Path(sys.argv[1])
sys.path[:0] = [str(LLAMA / "gguf-py"), str(LLAMA)]

import gguf  # noqa: E402
import conversion  # noqa: E402
import transformers  # noqa: E402

COMMON = dict(vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=4,
              max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=0, tie_word_embeddings=False)
LINEAR = dict(linear_conv_kernel_dim=3, linear_key_head_dim=2, linear_value_head_dim=4, linear_num_key_heads=2, linear_num_value_heads=4)
LATENT = dict(q_lora_rank=6, kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=3)
NEXTN = {"eh_proj": (8, 16), "enorm": (8,), "hnorm": (8,), "shared_head.norm": (8,)}


def experts(name, count, width, hidden=8):
    """Each expert's three matrices."""
    return {f"{name}.{e}.{part}.weight": (hidden, width) if part == "down_proj" else (width, hidden)
            for e in range(count) for part in ("gate_proj", "up_proj", "down_proj")}


def names(front, shapes):
    """The same names under a front."""
    return {f"{front}{name}" + ("" if name.split(".")[-1] in ("weight", "bias", "e_score_correction_bias") else ".weight"): shape for name, shape in shapes.items()}


# What each case is: the config's model_type and settings, and under `add` tensors that the Hub's files have and transformers leaves out;
# `tensors` where there is no class; `options` of the converter.
CASES = {}


def case(name, model_type, arch=None, **rest):
    CASES[name] = dict(model_type=model_type, arch=arch, **rest)


exec((HERE / "cases.py").read_text())


def eighths(shape, generator):
    return torch.randint(-16, 17, tuple(shape), generator=generator).float() / 8


def adapted(model, targets, directory, name):
    """The model with an adapter of small fractions on some layers, which is saved, merged by PEFT in float32, where nothing is rounded."""
    import peft

    generator = torch.Generator().manual_seed(len(name))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    with torch.no_grad():
        for key, value in wrapped.named_parameters():
            if ".lora_" in key:
                value.copy_(torch.randint(-4, 5, value.shape, generator=generator).float() / 8)
    wrapped.save_pretrained(directory)
    (directory / "README.md").unlink()
    return wrapped.merge_and_unload()


def adapted_by_hand(tensors, targets, directory, name):
    """The tensors with an adapter on some modules, where transformers has no class that PEFT could merge into."""
    generator = torch.Generator().manual_seed(len(name))
    factors = {}
    for target in targets:
        weight = tensors[target + ".weight"]
        a, b = (torch.randint(-4, 5, shape, generator=generator).float() / 8 for shape in ((2, weight.shape[1]), (weight.shape[0], 2)))
        factors |= {f"base_model.model.{target}.lora_A.weight": a, f"base_model.model.{target}.lora_B.weight": b}
        tensors[target + ".weight"] = weight + 2 * (b @ a)
    save_file(factors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = dict(peft_type="LORA", r=2, lora_alpha=4, target_modules=targets)
    (directory / "adapter_config.json").write_text(json.dumps(config))


def checkpoint(name, directory, case, adapter=None):
    """Writes config.json and model.safetensors; returns the config and the tensors."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
    settings = case.get("config", {})
    if "tensors" in case:
        config = dict(settings, model_type=case["model_type"], architectures=[case["arch"]], dtype="float32")
        tensors = {key: eighths(shape, generator) for key, shape in case["tensors"].items()}
        if adapter:
            adapted_by_hand(tensors, case["targets"], adapter, name)
    else:
        kind = transformers.CONFIG_MAPPING[case["model_type"]](**settings)
        own = getattr(transformers, case["arch"]) if case["arch"] else None
        model = (own or transformers.AutoModelForCausalLM._model_mapping[type(kind)])(kind).float()
        with torch.no_grad():
            for key, value in list(model.named_parameters()) + list(model.named_buffers()):
                if "inv_freq" not in key and value.is_floating_point():
                    value.copy_(eighths(value.shape, generator))
        if adapter:
            model = adapted(model, case["targets"], adapter, name)
        # The Hub's own files, which is not always how transformers saves a language model alone.
        model.save_pretrained(directory, save_original_format=not case.get("in_memory"))
        config = json.loads((directory / "config.json").read_text())
        tensors = {}
        for file in sorted(directory.glob("*.safetensors")):
            tensors |= load_file(file)
            file.unlink()
        tensors = {case.get("hub", str)(key): value for key, value in tensors.items()}
        for key, shape in case.get("add", {}).items():
            tensors[key] = eighths(shape, generator)
    for key in tensors:
        # Positive, and above 2^-14: what float32 keeps of exp(A_log) then tells a number of BF16.
        if key.endswith("A_log"):
            tensors[key] = tensors[key].abs() / 8 + 0.125
    config |= case.get("patch", {})
    for file, text in case.get("files", {}).items():
        (directory / file).write_text(text)
    (directory / "config.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in tensors.items()}, directory / "model.safetensors", metadata={"format": "pt"})
    return config, tensors


# The converter of old, in a process of its own: both have a module gguf.
OLD = """
import sys
from pathlib import Path
old, directory, target = sys.argv[1:]
sys.path[:0] = [old + "/gguf-py", old]
import gguf
import convert_hf_to_gguf as converter
hparams = converter.Model.load_hparams(Path(directory))
kind = converter.Model.from_model_architecture(hparams["architectures"][0])
kind.set_vocab = lambda self: None
kind(Path(directory), gguf.LlamaFileType.ALL_F32, Path(target), eager=True).write()
"""


def convert(directory, target, config, options):
    if options.get("old"):
        subprocess.run([sys.executable, "-c", OLD, os.environ["LLAMA_CPP_OLD"], directory, target], check=True)
        return
    hparams = conversion.ModelBase.load_hparams(directory, False)
    architecture = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    kind = conversion.get_model_class(architecture)
    own = type(kind.__name__, (kind,), {"model_arch": kind.model_arch, "set_vocab": lambda self: None, "write_vocab": lambda self: None})
    if kind.__name__ == "Mistral3Model":
        for part in (kind.Ministral3Model, kind.Mistral4Model):
            part.set_vocab = lambda self: None
    options = dict(options)
    own.no_mtp = options.pop("no_mtp", False)
    instance = own(directory, gguf.LlamaFileType.ALL_F32, target, use_temp_file=False, eager=True, **options)
    instance.write()


def main():
    wanted = sys.argv[2:] or list(CASES)
    path = HERE / "expected.json"
    expected = json.loads(path.read_text())
    for name in wanted:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            config, tensors = checkpoint(name, directory, case)
            target = HERE / f"{name}.gguf"
            if case.get("beside"):
                # A file that its config.json is needed for.
                target = HERE / name / "model.gguf"
                target.parent.mkdir(exist_ok=True)
                (target.parent / "config.json").write_text(json.dumps(config))
            convert(directory, target, config, case.get("options", {}))
            rename = case.get("rename", lambda key: key)
            left = case.get("left_out", lambda key: False)
            expected[name] = {
                "model_type": case.get("type", case["model_type"]),
                "tensors": {rename(key): {"sha256": hashlib.sha256(value.float().contiguous().numpy().tobytes()).hexdigest(), "shape": list(value.shape)}
                            for key, value in sorted(tensors.items()) if not left(key)},
            }
            print(name, target.stat().st_size)
        if "targets" in case:
            own = HERE / "merged" / name
            (own / "adapter").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as folder:
                directory = Path(folder)
                config, _ = checkpoint(name, directory, case, own / "adapter")
                convert(directory, own / "merged.gguf", config, case.get("options", {}))
        path.write_text(json.dumps(expected, indent=1, sort_keys=True))


main()
