"""The usual way: peft_merge.py BASE ADAPTER OUT. Needs torch, transformers and peft."""

import os
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, low_cpu_mem_usage=True)
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
os.sync()
