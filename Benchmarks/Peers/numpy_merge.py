"""What one would write by hand: numpy_merge.py BASE ADAPTER OUT.

Reads a BF16 checkpoint shard by shard, adds scaling * B @ A in float32 to each tensor that the adapter has, rounds to
BF16 and writes the shards anew, durably. Only LoRA, only these types: a yardstick, not a tool.
"""

import json
import os
import shutil
import struct
import sys

import numpy as np


def read(path):
    """The header, and the bytes after it, mapped."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return header, np.memmap(path, np.uint8, "r", 8 + size), 8 + size


def main(base, adapter, out):
    with open(os.path.join(adapter, "adapter_config.json")) as file:
        config = json.load(file)
    scale = np.float32(config["lora_alpha"] / config["r"])
    factors, values, _ = read(os.path.join(adapter, "adapter_model.safetensors"))

    def factor(name):
        entry = factors[name]
        start, end = entry["data_offsets"]
        return values[start:end].view(np.float32).reshape(entry["shape"])

    os.mkdir(out)
    for name in sorted(os.listdir(base)):
        source, target = os.path.join(base, name), os.path.join(out, name)
        if not name.endswith(".safetensors"):
            shutil.copyfile(source, target)
            continue
        header, data, start = read(source)
        with open(source, "rb") as file, open(target, "wb") as result:
            result.write(file.read(start))
            for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                raw = data[slice(*entry["data_offsets"])]
                prefix = "base_model.model." + key.removesuffix("weight")
                if prefix + "lora_A.weight" in factors:
                    weight = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
                    weight += scale * (factor(prefix + "lora_B.weight") @ factor(prefix + "lora_A.weight"))
                    bits = weight.view(np.uint32)
                    raw = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
                result.write(raw.data)
            result.flush()
            os.fsync(result.fileno())


main(*sys.argv[1:])
