"""Writes Fixtures/states: training states of whole models as torch, Lightning, Accelerate, DDP and FSDP write them.

    python make_states.py OUT

Needs peft 0.21.2, transformers 5.24.0, torch 2.13.0, accelerate 1.15.0, lightning 2.6.6, bitsandbytes 0.50.2, safetensors. The files of DeepSpeed are
dictionaries of its layout (deepspeed/runtime/engine.py, `_save_checkpoint`), written by torch alone.
"""
import copy, json, os, shutil, sys, warnings
import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BitsAndBytesConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          MixtralConfig, MixtralForCausalLM)
from peft import LoraConfig, TrainableTokensConfig, IA3Config, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

warnings.filterwarnings("ignore")
out = sys.argv[1]
shutil.rmtree(out, ignore_errors=True)
os.makedirs(out)


def llama(tied=False, **more):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=16, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=1, **more))


def bert():
    return BertForSequenceClassification(BertConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=16, num_labels=3))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=1))


def mixtral():
    return MixtralForCausalLM(MixtralConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=16, bos_token_id=0, eos_token_id=1))


BASES = {"llama": lambda: llama(), "llama-tied": lambda: llama(True), "bert": bert, "gpt2": gpt2, "mixtral": mixtral}


def save_base(name):
    torch.manual_seed(len(name))
    model = BASES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 4 + (1 if parameter.dim() == 1 else 0))
    directory = f"{out}/bases/{name}"
    model.save_pretrained(directory)
    for extra in ["generation_config.json"]:
        if os.path.exists(f"{directory}/{extra}"):
            os.remove(f"{directory}/{extra}")
    return directory


def load_base(name, **more):
    cls = {"llama": LlamaForCausalLM, "llama-tied": LlamaForCausalLM, "bert": BertForSequenceClassification, "gpt2": GPT2LMHeadModel,
           "mixtral": MixtralForCausalLM}[name]
    return cls.from_pretrained(f"{out}/bases/{name}", **more)


def train(model):
    """Other numbers in everything that is trained, as a few steps leave them."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_((torch.randn(parameter.shape) / 8).to(parameter.dtype))
    return model.eval()


def expected(model, base, case):
    """What PEFT's own merge gives in float64, rounded once: the tensors that differ from the base's."""
    merged = copy.deepcopy(model).double().merge_and_unload()
    directory = f"{out}/{case}/merged"
    merged.to(torch.float64).save_pretrained(directory)
    tensors = load_file(f"{directory}/model.safetensors")
    shutil.rmtree(directory)
    stored = load_file(f"{out}/bases/{base}/model.safetensors")
    changed = {}
    for name, tensor in tensors.items():
        rounded = tensor.to(stored[name].dtype if name in stored else torch.float32)
        if name not in stored or rounded.shape != stored[name].shape or not torch.equal(rounded, stored[name]):
            changed[name] = rounded.contiguous()
    os.makedirs(f"{out}/{case}/expected", exist_ok=True)
    save_file(changed, f"{out}/{case}/expected/merged.safetensors")
    return changed


def case(name, base, model, write, file, what, reference=None, **more):
    os.makedirs(f"{out}/{name}/state")
    config = model.peft_config["default"]
    config.inference_mode = True
    config.base_model_name_or_path = None
    config.save_pretrained(f"{out}/{name}/state")
    # Sets have no order of their own.
    path = f"{out}/{name}/state/adapter_config.json"
    settings = json.load(open(path))
    for key in ("target_modules", "modules_to_save"):
        if isinstance(settings.get(key), list):
            settings[key] = sorted(settings[key])
    json.dump(settings, open(path, "w"), indent=1, sort_keys=True)
    write(model, f"{out}/{name}/state")
    changed = expected(reference or model, base, name)
    json.dump({"name": name, "what": what, "base": f"../bases/{base}", "file": file, "changed": sorted(changed), **more},
              open(f"{out}/{name}/case.json", "w"), indent=1)
    print(name, len(changed))


def save_torch(file):
    return lambda model, directory: torch.save(model.state_dict(), f"{directory}/{file}")


for base in BASES:
    save_base(base)

# torch.save of the whole model's state.
case("torch-lora", "llama", train(get_peft_model(load_base("llama"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))),
    save_torch("pytorch_model.bin"), "pytorch_model.bin", "torch.save(model.state_dict()) of LoRA on a Llama")

# The frozen weights are those of the base rounded to BF16; the adapter is merged onto the base as it is.
halves = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
half = train(get_peft_model(load_base("llama", dtype=torch.bfloat16), copy.deepcopy(halves)))
single = get_peft_model(load_base("llama"), copy.deepcopy(halves))
set_peft_model_state_dict(single, {k: v.float() for k, v in get_peft_model_state_dict(half).items()})
case("torch-half", "llama", half, save_torch("weights.pt"), "weights.pt", "LoRA trained on the base rounded to BF16", reference=single)

# torch.compile and DistributedDataParallel put names of their own in front.
os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29511", RANK="0", WORLD_SIZE="1")
torch.distributed.init_process_group("gloo")


def save_ddp(model, directory):
    wrapped = torch.nn.parallel.DistributedDataParallel(torch.compile(model))
    torch.save(wrapped.state_dict(), f"{directory}/checkpoint.pt")


dora = get_peft_model(load_base("gpt2"), LoraConfig(
    r=2, lora_alpha=4, use_dora=True, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM"))
case("ddp-dora", "gpt2", train(dora), save_ddp, "checkpoint.pt", "DoRA on GPT-2 in DistributedDataParallel and torch.compile")


def save_fsdp(model, directory):
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, StateDictType, FullStateDictConfig
    try:
        wrapped = FSDP(copy.deepcopy(model), use_orig_params=True, device_id=torch.device("cpu"))
        with FSDP.state_dict_type(wrapped, StateDictType.FULL_STATE_DICT, FullStateDictConfig(rank0_only=False)):
            state = wrapped.state_dict()
        print("  FSDP gave", len(state), list(state)[:2])
    except Exception as error:
        print("  FSDP:", type(error), str(error)[:200])
        raise
    torch.save({"model": state, "epoch": 3}, f"{directory}/full_state.pt")


case("fsdp-experts", "mixtral", train(get_peft_model(load_base("mixtral"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM"))),
    save_fsdp, "full_state.pt", "FSDP's full state of a Mixtral, whose experts are one parameter in memory")


# Lightning: a checkpoint of a module that holds the model as `model`.
def save_lightning(model, directory):
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"lr": 0.1})
            self.model = model

        def training_step(self, batch, _):
            return self.model(input_ids=batch[0], labels=batch[1]).loss

        def configure_optimizers(self):
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=0.1)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randint(0, 20, (4, 5)), torch.randint(0, 3, (4,))), batch_size=2)
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                        default_root_dir=directory, enable_checkpointing=False)
    trainer.fit(Module(), data)
    trainer.save_checkpoint(f"{directory}/last.ckpt")
    model.eval()


case("lightning-saved", "bert", train(get_peft_model(load_base("bert"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["query", "value"], task_type="SEQ_CLS"))),
    save_lightning, "last.ckpt", "Lightning's checkpoint of a classifier, its head in modules_to_save")


# Accelerate: shared tensors left out, one file or shards.
def save_accelerate(size):
    def write(model, directory):
        from accelerate import Accelerator
        Accelerator(cpu=True).save_model(model, directory, max_shard_size=size, safe_serialization=True)
    return write


case("accelerate-tokens", "llama-tied", train(get_peft_model(load_base("llama-tied"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3, 5]}, task_type="CAUSAL_LM"))),
    save_accelerate("1GB"), "model.safetensors", "Accelerate's file of a Llama with a tied head, with trained token rows")
case("accelerate-shards", "llama", train(get_peft_model(load_base("llama"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["embed_tokens", "q_proj", "lm_head"], bias="none", task_type="CAUSAL_LM"))),
    save_accelerate("3KB"), "model.safetensors.index.json", "Accelerate's shards, with LoRA on embedding and head")


# DeepSpeed's layout.
def save_deepspeed(model, directory):
    state = model.state_dict()
    torch.save({
        "module": state, "buffer_names": [], "optimizer": None, "param_shapes": [{k: v.shape for k, v in state.items()}],
        "frozen_param_shapes": None, "shared_params": [], "frozen_param_fragments": None, "lr_scheduler": None, "data_sampler": None,
        "random_ltd": None, "sparse_tensor_module_names": set(), "skipped_steps": 0, "global_steps": 3, "global_samples": 12,
        "dp_world_size": 1, "mp_world_size": 1, "ds_config": {"train_batch_size": 4, "zero_optimization": {"stage": 2}}, "ds_version": "0.18.2",
    }, f"{directory}/mp_rank_00_model_states.pt")


case("deepspeed-bias", "bert", train(get_peft_model(load_base("bert"), LoraConfig(
    r=2, lora_alpha=4, target_modules=["query", "value"], modules_to_save=["classifier"], bias="lora_only"))),
    save_deepspeed, "mp_rank_00_model_states.pt", "DeepSpeed's states of a module with trained biases")

case("torch-tokens", "llama", train(get_peft_model(load_base("llama"), TrainableTokensConfig(
    token_indices=[2, 9], target_modules=["embed_tokens"], task_type="CAUSAL_LM"))),
    save_torch("pytorch_model.bin"), "pytorch_model.bin", "trained token rows alone")
case("torch-ia3", "bert", train(get_peft_model(load_base("bert"), IA3Config(
    target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"], task_type="SEQ_CLS"))),
    save_torch("pytorch_model.bin"), "pytorch_model.bin", "another method, IA3")


# QLoRA and LLM.int8: bitsandbytes 0.50 on a processor. The adapter is merged onto the base as it is.
def quantised(name, what, **settings):
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = train(get_peft_model(load_base("llama", quantization_config=BitsAndBytesConfig(**settings), device_map="cpu"), copy.deepcopy(config)))
    plain = get_peft_model(load_base("llama"), copy.deepcopy(config))
    set_peft_model_state_dict(plain, get_peft_model_state_dict(model))
    codes = sum(key.endswith("weight") and value.dtype in (torch.uint8, torch.int8) for key, value in model.state_dict().items())
    case(name, "llama", model, save_torch("pytorch_model.bin"), "pytorch_model.bin", what, reference=plain, codes=codes)


quantised("torch-nf4", "QLoRA: the frozen weights are codes of NF4, twice quantised", load_in_4bit=True, bnb_4bit_quant_type="nf4",
          bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
quantised("torch-int8", "LLM.int8", load_in_8bit=True)


# An embedding with more rows: tokens were added before training.
grown = load_base("llama")
torch.manual_seed(3)
grown.resize_token_embeddings(23, mean_resizing=False)
case("torch-resized", "llama", train(get_peft_model(grown, LoraConfig(
    r=2, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))),
    save_torch("pytorch_model.bin"), "pytorch_model.bin", "tokens were added before training", resized=23)
