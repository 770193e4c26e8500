import Adapters
import ByteAccess
import Checkpoints
import Containers

/// What becomes of tensors that lie in the same bytes of a torch file; safetensors has no place for that.
///
/// | in the pickle | in the output |
/// |---|---|
/// | one tensor under several names | once: under the name that loaders tie the others to, else under the first by the alphabet |
/// | the same, where config.json unties the embeddings, or in a training checkpoint, whose parts nobody ties | under each name |
/// | views that overlap and are not the same | each whole, with a note |
///
/// The names that are left out stand in the file's metadata with the name that is kept, as safetensors' `save_model` and its
/// conversion script have it. Source: `_remove_duplicate_names` in safetensors/torch.py, bindings/python/convert.py of
/// huggingface/safetensors, and `save_pretrained` in transformers/modeling_utils.py, which drops what a model declares tied
/// and refuses other shared tensors: it has the model in memory and could tie what nobody ties on loading.
struct SharedTensorChoice {
    private(set) var dropped: [(tensor: ExactString, kept: ExactString)] = []
    private(set) var notes: [String] = []

    init(_ source: Checkpoint, keepsAll: Bool) {
        let isUntied = [source.config, source.config?["text_config"]?.objectValue].contains {
            $0?["tie_word_embeddings"]?.boolValue == false
        }
        for shard in source.shards {
            let isTraining = shard.file.modelPart != nil
            for group in shard.file.shared {
                let names = group.names.map(\.text.printable).joined(separator: ", ")
                if !group.isIdentical {
                    notes.append("\(names) share bytes of one storage and are not the same: each is written whole")
                } else if keepsAll || isTraining || isUntied {
                    notes.append("\(names) are one tensor: it is written under each name")
                } else {
                    let kept = TiedWeights.storedName(among: group.names)
                    for name in group.names where name != kept {
                        dropped.append((name, kept))
                        notes.append(
                            "\(name.text.printable) is \(kept.text.printable) under a second name and is written once, as loaders "
                                + "expect of tied weights (--keep-shared writes both)")
                    }
                }
            }
        }
    }
}
