"""Writes halves.pt and halves.safetensors beside itself: torch 2.13.0, safetensors 0.8.0."""
import pathlib

import torch
from safetensors.torch import save_file

folder = pathlib.Path(__file__).parent
codes = torch.arange(24, dtype=torch.uint8) * 11
whole = codes.view(torch.float4_e2m1fn_x2).reshape(4, 6)
torch.save(
    {
        "whole": whole, "row": whole[1], "columns": whole[:, 2:5], "turned": whole.t(), "none": whole[:0],
        "apart": torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "codes": codes.clone(),
    },
    folder / "halves.pt")


def own(tensor):
    """The elements alone; torch itself copies no views of this type."""
    return tensor.view(torch.uint8).clone(memory_format=torch.contiguous_format).view(tensor.dtype)


loaded = torch.load(folder / "halves.pt", weights_only=True)
save_file({name: own(tensor) for name, tensor in loaded.items()}, folder / "halves.safetensors")
