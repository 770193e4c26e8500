"""Writes lora/: adapters of PEFT's for encoders, and what llama.cpp's converter makes of them.

    python lora.py LLAMA_CPP

LLAMA_CPP is a checkout of ggml-org/llama.cpp; transformers, torch and peft are needed. A case has `adapter/` as PEFT saved it, the base's config.json and
`lora.gguf`, which convert_lora_to_gguf.py wrote in F32.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import peft
import torch
import transformers

HERE = Path(__file__).parent / "lora"
SIZES = dict(vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64, pad_token_id=0,
             bos_token_id=0, eos_token_id=1, cls_token_id=0, sep_token_id=1)


def case(name, model, config, targets, task):
    folder = HERE / name
    kind = getattr(transformers, config)(**SIZES)
    own = getattr(transformers, model)(kind).float()
    with tempfile.TemporaryDirectory() as base:
        own.save_pretrained(base)
        (folder / "adapter").mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text((Path(base) / "config.json").read_text())
        wrapped = peft.get_peft_model(own, peft.LoraConfig(r=2, lora_alpha=4, target_modules=targets, task_type=task))
        generator = torch.Generator().manual_seed(len(name))
        with torch.no_grad():
            for key, value in wrapped.named_parameters():
                if ".lora_" in key:
                    value.copy_(torch.randint(-16, 17, value.shape, generator=generator).float() / 8)
        wrapped.save_pretrained(folder / "adapter")
        (folder / "adapter" / "README.md").unlink()
        subprocess.run([sys.executable, sys.argv[1] + "/convert_lora_to_gguf.py", folder / "adapter", "--base", base, "--outtype", "f32", "--outfile", folder / "lora.gguf"],
                       check=True)


case("modernbert", "ModernBertModel", "ModernBertConfig", ["Wqkv", "Wo", "Wi"], "FEATURE_EXTRACTION")
case("modernbert-mlm", "ModernBertForMaskedLM", "ModernBertConfig", ["Wqkv", "Wo", "Wi"], None)
case("bert", "BertModel", "BertConfig", ["query", "key", "value", "attention.output.dense"], "FEATURE_EXTRACTION")
case("bert-mlm", "BertForMaskedLM", "BertConfig", ["query", "value"], None)
