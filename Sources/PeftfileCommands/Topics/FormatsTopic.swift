extension HelpTopic {
    /// `peftfile help formats`.
    static let formats = HelpTopic(
        name: "formats", abstract: "what can be read and what is written",
        blocks: [
            .paragraph(
                "What a file is, is told by its bytes and never by its name. Everything below is read by every command, unless it "
                    + "says otherwise. The pages in Formats/ of the sources have every byte and every rule."),
            .heading("Checkpoints"),
            .list([
                ("safetensors", "one file; all 22 dtypes; the header is held to every rule of the format"),
                (
                    "torch files",
                    ".bin, .pt, .pth, .ckpt: unpickled by a machine that runs nothing and knows only what tensors are made of"
                ),
                ("shards", "*.safetensors.index.json and *.bin.index.json with the files that they name"),
                ("GGUF", "llama.cpp's files, split ones too: the Hub's names and rows, blocks dequantised"),
                ("NPZ", "numpy's archives, in which MLX kept weights before safetensors"),
                ("a directory", "one that holds any of these under the names that transformers, diffusers and MLX give"),
                (
                    "a Hub id",
                    "org/name, org/name@revision, hf://org/name@revision/path: in the Hub's local cache, which is only read; see "
                        + "peftfile help environment"
                ),
            ]),
            .paragraph(
                "Weights in bitsandbytes NF4, FP4 and int8, GPTQ, AWQ, FP8, MXFP4, compressed-tensors and MLX are read as the plain "
                    + "weights that they stand for, computed in float64."),
            .heading("Adapters"),
            .list([
                (
                    "PEFT",
                    "adapter_config.json beside adapter_model.safetensors or .bin; every peft_type is merged, or refused with the reason"
                ),
                ("kohya, LyCORIS", "lora_unet_*, lora_te*: LoRA, LoCon, LoHa, LoKr, (IA)3, full, norms, OFT, BOFT, GLoRA, DoRA"),
                ("diffusers, XLabs", "unet.*, transformer.*, the old processor keys"),
                ("MLX", "adapters.safetensors beside its own adapter_config.json"),
                ("llama.cpp", "GGUF files with general.type adapter; rows of q and k are put back by the heads of the base"),
                ("torchtune, loralib", "and AdapterHub's LoRA; bottleneck adapters of AdapterHub and OpenDelta are inspected"),
                ("two factors", "in a bare file, with --scale and --orientation"),
                ("training states", "of prefix and prompt encoders, for peftfile strip"),
            ]),
            .heading("Written"),
            .paragraph(
                "Safetensors, in the base's order and shards, with an index where there are several, the base's config with what "
                    + "changes, tokenizer and templates, a model card and a receipt; GGUF, where a GGUF base is merged into OUT.gguf. "
                    + "peftfile convert writes checkpoints as safetensors, and adapters in the dialects that --to names."),
            .heading("Refused by name"),
            .paragraph(
                "What looks like weights and is not, as Git LFS pointers and web pages saved as weights, and other containers."),
            .example(["peftfile inspect FILE"]),
        ])
}
