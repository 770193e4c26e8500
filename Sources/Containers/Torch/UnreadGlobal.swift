/// What the writer of a pickle can do where it names something that is not read: the numbers are there, in another form than
/// tensors by name.
///
/// Source: the functions of torch/_utils.py whose names begin with `_rebuild_`, and what `Tensor._reduce_ex_internal` in
/// torch/_tensor.py calls each of them for.
enum UnreadGlobal {
    /// The full state dict of a model whose parameters are DTensors.
    ///
    /// Source: `get_model_state_dict` in torch/distributed/checkpoint/state_dict.py.
    private static let wholeState =
        "it is one rank's part of a model under FSDP2; save the whole on all ranks: "
        + "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))"

    private static let functions = [
        "_rebuild_wrapper_subclass": wholeState,
        "_rebuild_sparse_tensor": "a sparse tensor is no weight of a layer; save it dense: tensor.to_dense()",
        "_rebuild_nested_tensor": "a nested tensor is no weight of a layer; save its parts one by one: tensor.unbind()",
        "_rebuild_qtensor": "save the numbers that its codes stand for: tensor.dequantize()",
        "_rebuild_meta_tensor_no_storage":
            "a tensor on the meta device has no numbers; load the weights before saving, or save a state dict that is not offloaded",
    ]

    /// - Parameter isWhole: whether nothing stands before the name, so that the file is one object of that class.
    static func help(module: String, name: String, isWhole: Bool) -> String {
        if module == "torch._utils", let help = functions[name] { return help }
        if module.hasPrefix("torch.distributed.tensor") || module.hasPrefix("torch.distributed._tensor") { return wholeState }
        let safe = "it may be made to run code; nothing of it was run"
        // Classes are written with a capital; a function there is no model.
        guard isWhole && name.first?.isUppercase == true || module.hasPrefix("torch.nn.modules.") else { return safe }
        return "\(safe); of a whole model save the state dict alone: torch.save(model.state_dict(), PATH)"
    }
}
