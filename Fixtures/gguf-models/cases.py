ATTENTION = {"q_proj": (16, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8), "q_norm": (4,), "k_norm": (4,)}
MTP = names("mtp.", {"fc": (8, 16), "norm": (8,), "pre_fc_norm_embedding": (8,), "pre_fc_norm_hidden": (8,)}) | names("mtp.layers.0.", {
    "input_layernorm": (8,), "post_attention_layernorm": (8,)}) | names("mtp.layers.0.self_attn.", ATTENTION)
SHARED = names("mtp.layers.0.mlp.", {"gate": (2, 8), "shared_expert_gate": (1, 8), "shared_expert.gate_proj": (4, 8), "shared_expert.up_proj": (4, 8),
                                     "shared_expert.down_proj": (8, 4)})
MIXED = dict(num_hidden_layers=2, layer_types=["linear_attention", "full_attention"])
ROUTED = dict(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, shared_expert_intermediate_size=4)

# Options that join what the Hub has apart.
case("qwen2-fused", "qwen2", targets=["q_proj", "v_proj", "o_proj", "down_proj"], config=COMMON, options=dict(fuse_qkv=True))
case("qwen3moe-fused", "qwen3_moe", targets=["q_proj", "k_proj", "v_proj", "o_proj"], config=COMMON | dict(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, decoder_sparse_step=1),
     options=dict(fuse_qkv=True))
case("smollm3-fused", "smollm3", targets=["q_proj", "k_proj", "v_proj", "o_proj"], config=COMMON | dict(num_attention_heads=4, num_key_value_heads=2, no_rope_layers=[1]), options=dict(fuse_qkv=True))

# Qwen's linear attention, with the block that predicts more tokens and without.
case("qwen3next", "qwen3_next", targets=["q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkvz", "in_proj_ba", "out_proj"], config=COMMON | LINEAR | MIXED | ROUTED | dict(decoder_sparse_step=1),
     add=MTP | SHARED | experts("mtp.layers.0.mlp.experts", 2, 6), options=dict(fuse_gate_up_exps=True))
case("qwen35", "qwen3_5_text", targets=["q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"], config=COMMON | LINEAR | MIXED, options=dict(no_mtp=True, fuse_qkv=True))
case("qwen35moe", "qwen3_5_moe_text", in_memory=True, targets=["q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkv", "in_proj_z", "out_proj"], config=COMMON | LINEAR | MIXED | ROUTED,
     add=MTP | SHARED | {"mtp.layers.0.mlp.experts.gate_up_proj": (2, 12, 8), "mtp.layers.0.mlp.experts.down_proj": (2, 8, 6)},
     patch=dict(mtp_num_hidden_layers=1))

# Blocks that predict more tokens, behind the others.
GLM = COMMON | dict(num_hidden_layers=2, n_routed_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, n_shared_experts=1, first_k_dense_replace=1,
                    use_qk_norm=True, n_group=1, topk_group=1)
BLOCK = {"input_layernorm": (8,), "post_attention_layernorm": (8,), "embed_tokens": (8, 8), "shared_head.head": (8, 8)} | NEXTN
case("glm4moe-nextn", "glm4_moe", config=GLM, patch=dict(num_nextn_predict_layers=1),
     add=names("model.layers.2.", BLOCK) | names("model.layers.2.self_attn.", {"q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8), "q_norm": (4,), "k_norm": (4,)})
     | names("model.layers.2.mlp.", {"gate": (2, 8), "gate.e_score_correction_bias": (2,), "shared_experts.gate_proj": (6, 8), "shared_experts.up_proj": (6, 8),
                                     "shared_experts.down_proj": (8, 6)}) | experts("model.layers.2.mlp.experts", 2, 6))
LATENTS = COMMON | LATENT | dict(num_hidden_layers=2, num_key_value_heads=2, n_routed_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, n_shared_experts=1,
                                 first_k_dense_replace=1, n_group=1, topk_group=1)
INDEX = dict(index_n_heads=2, index_head_dim=4, index_topk=4)
# From before kv_b_proj was cut in two.
case("deepseek2-whole", "deepseek_v3", targets=["kv_b_proj", "o_proj"], config=LATENTS, patch=dict(head_dim=None, scoring_func="sigmoid"), options=dict(old=True))
case("glm4moelite", "glm4_moe_lite", config=LATENTS | dict(mlp_layer_types=["dense", "sparse"]))
case("deepseek32", "deepseek_v32", config=LATENTS | INDEX)
case("glmdsa", "glm_moe_dsa", config=LATENTS | INDEX | dict(mlp_layer_types=["dense", "sparse"]))
case("mistral4", "mistral4", arch="Mistral4ForCausalLM", config=LATENTS, patch=dict(architectures=["Mistral3ForConditionalGeneration"]))
case("hyv3", "hy_v3", config=COMMON | dict(num_hidden_layers=2, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6, num_shared_experts=1, first_k_dense_replace=1))
case("kimilinear", "kimi_linear", targets=["q_proj", "k_proj", "v_proj", "o_proj", "kv_b_proj", "f_b_proj"], hub=lambda key: key.replace("layers.0.block_sparse_moe", "layers.0.mlp"),
     config=LATENTS | dict(q_lora_rank=None, num_experts=2, num_shared_experts=1,
                           linear_attn_config=dict(head_dim=4, num_heads=2, short_conv_kernel_size=3, kda_layers=[1], full_attn_layers=[2])),
     patch=dict(num_experts=2, num_shared_experts=1, first_k_dense_replace=1, num_key_value_heads=2,
                linear_attn_config=dict(head_dim=4, num_heads=2, short_conv_kernel_size=3, kda_layers=[1], full_attn_layers=[2])))
case("cohere2moe", "cohere2_moe", config=COMMON | dict(num_hidden_layers=2, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6))
case("mellum", "mellum", config=COMMON | dict(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6))

# Gemma's newer ones. The converter looks at the vocabulary's file.
VOCABULARY = {"tokenizer.json": json.dumps({"model": {"vocab": {str(number): number for number in range(8)}}, "added_tokens": []})}
GEMMA4 = COMMON | dict(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], global_head_dim=8, num_kv_shared_layers=0, tie_word_embeddings=True)
case("gemma4", "gemma4_text", targets=["q_proj", "k_proj", "v_proj", "o_proj", "per_layer_projection"], config=GEMMA4 | dict(hidden_size_per_layer_input=4, vocab_size_per_layer_input=8), files=VOCABULARY)
case("gemma4moe", "gemma4_text", files=VOCABULARY,
     config=GEMMA4 | dict(hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=2, top_k_experts=1, moe_intermediate_size=6))
case("gemmaembedding", "gemma3_text", arch="Gemma3TextModel", config=COMMON, files=VOCABULARY)

# Others of the Hub.
case("internlm3", "internlm3", config=COMMON)
case("solaropen", "solar_open", config=GLM)
case("granitemoeswa", "granitemoe_swa", config=COMMON | dict(num_local_experts=2, num_experts_per_tok=1, shared_intermediate_size=6))
case("modernbert", "modernbert", arch="ModernBertModel", config=COMMON | dict(num_hidden_layers=2))
case("bert", "bert", arch="BertModel", config=COMMON | dict(max_position_embeddings=16), left_out=lambda key: key.startswith("pooler."))
case("t5", "t5", arch="T5ForConditionalGeneration", config=dict(vocab_size=8, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, relative_attention_num_buckets=4, tie_word_embeddings=False, feed_forward_proj="gated-gelu"),
     patch=dict(decoder_start_token_id=0))

# Models of code that came with their checkpoints: their files' own names.
PLAIN = names("model.layers.0.", {"input_layernorm": (8,), "post_attention_layernorm": (8,), "self_attn.q_proj": (8, 8), "self_attn.k_proj": (8, 8),
                                  "self_attn.v_proj": (8, 8), "self_attn.o_proj": (8, 8)})
OUTSIDE = names("", {"model.embed_tokens": (8, 8), "model.norm": (8,), "lm_head": (8, 8)})
FEED = names("model.layers.0.mlp.", {"gate_proj": (12, 8), "up_proj": (12, 8), "down_proj": (8, 12)})
OWN = dict(vocab_size=8, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
           rms_norm_eps=1e-6, rope_theta=10000.0)
case("exaone", "exaone_remote", arch="ExaoneForCausalLM", type="exaone", config=OWN | dict(num_layers=1, activation_function="silu", layer_norm_epsilon=1e-5),
     tensors=names("transformer.h.0.", {"ln_1": (8,), "ln_2": (8,), "attn.attention.q_proj": (8, 8), "attn.attention.k_proj": (8, 8), "attn.attention.v_proj": (8, 8),
                                        "attn.attention.out_proj": (8, 8), "mlp.c_fc_0": (12, 8), "mlp.c_fc_1": (12, 8), "mlp.c_proj": (8, 12)})
     | names("", {"transformer.wte": (8, 8), "transformer.ln_f": (8,), "lm_head": (8, 8)}))
case("deepseek", "deepseek", arch="DeepseekForCausalLM", config=OWN | dict(n_routed_experts=2, n_shared_experts=1, moe_intermediate_size=6, first_k_dense_replace=0, num_experts_per_tok=1),
     tensors=PLAIN | OUTSIDE | experts("model.layers.0.mlp.experts", 2, 6)
     | names("model.layers.0.mlp.", {"gate": (2, 8), "shared_experts.gate_proj": (6, 8), "shared_experts.up_proj": (6, 8), "shared_experts.down_proj": (8, 6)}))
case("minicpm4", "minicpm", arch="MiniCPMForCausalLM", config=OWN | dict(scale_emb=1, scale_depth=1, dim_model_base=8, tie_word_embeddings=False), tensors=PLAIN | FEED | OUTSIDE)
case("bailingmoe2", "bailing_moe_v2", arch="BailingMoeV2ForCausalLM",
     config=OWN | dict(head_dim=4, num_experts=2, num_shared_experts=1, num_experts_per_tok=1, moe_intermediate_size=6, first_k_dense_replace=0, n_group=1, topk_group=1,
                       norm_topk_prob=True, routed_scaling_factor=1.0, score_function="sigmoid", num_nextn_predict_layers=0),
     tensors=experts("model.layers.0.mlp.experts", 2, 6) | names("model.layers.0.", {
         "input_layernorm": (8,), "post_attention_layernorm": (8,), "attention.query_key_value": (24, 8), "attention.dense": (8, 8), "attention.query_layernorm": (4,),
         "attention.key_layernorm": (4,), "mlp.gate": (2, 8), "mlp.shared_experts.gate_proj": (6, 8), "mlp.shared_experts.up_proj": (6, 8),
         "mlp.shared_experts.down_proj": (8, 6)}) | {"model.layers.0.mlp.gate.expert_bias": (2,)}
     | names("", {"model.word_embeddings": (8, 8), "model.norm": (8,), "lm_head": (8, 8)}))
HEADED = names("model.layers.0.self_attn.", {"q_norm": (4,), "k_norm": (4,)})
SPARSE = names("model.layers.0.mlp.", {"gate": (2, 8)}) | experts("model.layers.0.mlp.experts", 2, 6)
case("dream", "Dream", arch="DreamModel", config=OWN | dict(mask_token_id=3), tensors=PLAIN | FEED | OUTSIDE)
case("rnd1", "rnd1", arch="RND1", config=OWN | dict(head_dim=4, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=6), tensors=PLAIN | HEADED | SPARSE | OUTSIDE)
case("lladamoe", "llada", arch="LLaDAMoEModelLM", config=OWN | dict(num_experts=2, num_experts_per_tok=1, expert_intermediate_size=6, qk_layernorm=True), tensors=PLAIN | HEADED | SPARSE | OUTSIDE)
case("xverse", "xverse", arch="XverseForCausalLM", config=OWN | dict(max_tokenizer_truncation=64), tensors=PLAIN | FEED | OUTSIDE)
case("pangu", "PanguEmbedded", arch="PanguEmbeddedForCausalLM", config=OWN, tensors=PLAIN | FEED | OUTSIDE)
case("smallthinker", "smallthinker", arch="SmallThinkerForCausalLM", config=OWN | dict(head_dim=4, moe_num_primary_experts=2, moe_num_active_primary_experts=1, moe_ffn_hidden_size=6, moe_primary_router_apply_softmax=True, sliding_window_layout=None), tensors=PLAIN | OUTSIDE | names("model.layers.0.block_sparse_moe.", {"primary_router": (2, 8)} | {f"experts.{e}.{p}": s for e in range(2) for p, s in (("gate", (6, 8)), ("up", (6, 8)), ("down", (8, 6)))}))
case("hunyuanvl", "hunyuan_vl", arch="HunYuanVLForConditionalGeneration", config=OWN | dict(head_dim=4, rope_scaling=None, tie_word_embeddings=False), left_out=lambda key: key == "lm_head.weight", tensors=PLAIN | FEED | OUTSIDE | names("model.layers.0.self_attn.", {"query_layernorm": (4,), "key_layernorm": (4,)}))
case("paddleocr", "paddleocr_vl_text", arch="PaddleOCRVLForConditionalGeneration", config=OWN | dict(head_dim=4), tensors=PLAIN | FEED | OUTSIDE)
case("t5encoder", "t5", arch="T5EncoderModel", config=dict(vocab_size=8, d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, relative_attention_num_buckets=4, feed_forward_proj="gated-gelu"), patch=dict(decoder_start_token_id=0))

# Gemma 3n: as many rows of each layer's embedding as the vocabulary has, and fewer, to which the converter adds zeros.
GEMMA3N = COMMON | dict(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], hidden_size_per_layer_input=4, vocab_size_per_layer_input=8, altup_num_inputs=4,
                        altup_active_idx=0, laurel_rank=2, num_kv_shared_layers=0, activation_sparsity_pattern=[0.95, 0.0], tie_word_embeddings=True)
case("gemma3n", "gemma3n_text", arch="Gemma3nForCausalLM", targets=["q_proj", "v_proj", "o_proj", "per_layer_projection", "linear_left"], config=GEMMA3N, files=VOCABULARY)
case("gemma3n-short", "gemma3n_text", arch="Gemma3nForCausalLM", config=GEMMA3N | dict(vocab_size_per_layer_input=6), files=VOCABULARY, beside=True)

# What the Hub has in one matrix.
GROUPED = OWN | dict(hidden_size=16, num_attention_heads=4, num_key_value_heads=2)
case("internlm2", "internlm2", arch="InternLM2ForCausalLM", targets=["model.layers.0.attention.wqkv", "model.layers.0.attention.wo", "model.layers.0.feed_forward.w3"], config=GROUPED,
     tensors=names("", {"model.tok_embeddings": (8, 16), "model.norm": (16,), "output": (8, 16)}) | names("model.layers.0.", {
         "attention.wqkv": (32, 16), "attention.wo": (16, 16), "attention_norm": (16,), "ffn_norm": (16,), "feed_forward.w1": (12, 16), "feed_forward.w3": (12, 16),
         "feed_forward.w2": (16, 12)}))
case("baichuan", "baichuan", arch="BaichuanForCausalLM", targets=["model.layers.0.self_attn.W_pack", "model.layers.0.self_attn.o_proj", "model.layers.0.mlp.up_proj"], config=OWN, options=dict(old=True),
     tensors=FEED | OUTSIDE | names("model.layers.0.", {"input_layernorm": (8,), "post_attention_layernorm": (8,), "self_attn.W_pack": (24, 8), "self_attn.o_proj": (8, 8)}))
case("dbrx", "dbrx", targets=["Wqkv", "out_proj"], config=dict(d_model=8, n_heads=2, n_layers=2, max_seq_len=64, vocab_size=8, tie_word_embeddings=False,
     attn_config=dict(kv_n_heads=1, clip_qkv=8, rope_theta=10000.0), ffn_config=dict(ffn_hidden_size=6, moe_num_experts=2, moe_top_k=1)))
case("llada", "llada", arch="LLaDAModelLM", targets=["model.transformer.blocks.0." + own for own in ("q_proj", "k_proj", "v_proj", "attn_out", "up_proj")],
     config=OWN | dict(d_model=8, n_heads=2, n_kv_heads=2, n_layers=1, mlp_hidden_size=12, max_sequence_length=64),
     tensors=names("model.transformer.", {"wte": (8, 8), "ln_f": (8,), "ff_out": (8, 8)}) | names("model.transformer.blocks.0.", {
         "q_proj": (8, 8), "k_proj": (8, 8), "v_proj": (8, 8), "attn_out": (8, 8), "ff_proj": (12, 8), "up_proj": (12, 8), "ff_out": (8, 12), "attn_norm": (8,), "ff_norm": (8,)}))

# Encoders.
case("nomicbert", "nomic_bert", arch="NomicBertModel", targets=["encoder.layers.0." + own for own in ("attn.Wqkv", "attn.out_proj", "mlp.fc11", "mlp.fc12")],
     files={"tokenizer.json": json.dumps({"model": {"type": "WordPiece", "vocab": {}}})},
     config=dict(vocab_size=8, n_embd=8, n_head=2, n_inner=12, n_layer=1, n_positions=8192, activation_function="swiglu", causal=False, qkv_proj_bias=False, mlp_fc1_bias=False,
                 mlp_fc2_bias=False, prenorm=False, rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None, rotary_emb_base=1000, layer_norm_epsilon=1e-12),
     tensors=names("", {"embeddings.word_embeddings": (8, 8), "embeddings.token_type_embeddings": (2, 8), "emb_ln": (8,), "emb_ln.bias": (8,)})
     | names("encoder.layers.0.", {"attn.Wqkv": (24, 8), "attn.out_proj": (8, 8), "mlp.fc11": (12, 8), "mlp.fc12": (12, 8), "mlp.fc2": (8, 12), "norm1": (8,), "norm1.bias": (8,),
                                   "norm2": (8,), "norm2.bias": (8,)}))
case("eurobert", "eurobert", arch="EuroBertModel", config=COMMON | dict(num_hidden_layers=2), patch=dict(classifier_pooling="mean"))
