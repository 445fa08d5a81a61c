//! Model weights: by extension, by where the Hugging Face cache keeps them, and by their first bytes.

use super::super::place::has_extension;
use super::super::{Facts, File, Item};
use super::{Draft, Rule};

/// Extensions that weights have and, from [`NAMED_FROM_BYTES`] on, little else.
const EXTENSIONS: [&str; 22] = [
    "safetensors",
    "gguf",
    "ggml",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "onnx_data",
    "tflite",
    "h5",
    "keras",
    "pdparams",
    "pdiparams",
    "nemo",
    "mar",
    "engine",
    "plan",
    "caffemodel",
    "mlmodel",
    "llamafile",
    "ort",
    "ptl",
];
/// How the names of weights begin that end with `.bin` or `.msgpack`.
const BEGINNINGS: [&str; 8] = [
    "pytorch_model",
    "diffusion_pytorch_model",
    "adapter_model",
    "flax_model",
    "open_clip_",
    "ggml-",
    "consolidated",
    "model-0",
];
/// A name alone counts from this length, 1 MiB: there are small files of other kinds by these names.
const NAMED_FROM_BYTES: u64 = 1 << 20;

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let item = |(number, file): (usize, &File)| {
        let told = facts.contents.weights.get(&number).copied();
        let item = || Item::whole(number, file);
        told.map(|format| item().noted(format)).or_else(|| is_named_so(file).then(item))
    };
    let items: Vec<Item> = facts.inventory.shown().filter_map(item).collect();
    let largest =
        items.iter().max_by_key(|item| item.blob_bytes).map(|item| &facts.inventory.files[item.file]);
    let directory = largest.map_or("", File::directory);
    let way_out = format!(
        "Keep weights out of the image and mount them (-v /srv/models:{directory}:ro). If they must be inside, give them a \
         layer of their own, copied before the code: COPY --link models/ {directory}/, so that new code moves none of them."
    );
    Rule::Weights.draft(items, way_out)
}

fn is_named_so(file: &File) -> bool {
    let name = file.name();
    let begins = || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    // The cache of huggingface_hub names its files by digests, as models--OWNER--NAME/blobs/DIGEST.
    let is_cached = || file.path.contains("/models--") && file.directory().ends_with("/blobs");
    file.bytes >= NAMED_FROM_BYTES
        && (has_extension(name, &EXTENSIONS)
            || has_extension(name, &["bin", "msgpack"]) && begins()
            || is_cached())
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{ask, found, inventory, layer, number, paths};
    use super::super::super::{Contents, Rule};

    const MIB: u64 = 1 << 20;

    #[test]
    fn weights_are_found_by_name_from_a_length_on() {
        let files = [
            ("models/a.safetensors", 5 * MIB),
            ("models/pytorch_model-00001-of-2.bin", 5 * MIB),
            ("c/hub/models--o--n/blobs/0123", 5 * MIB),
            ("usr/lib/python3/site-packages/distutils.pth", 100),
            ("usr/lib/firmware.bin", 5 * MIB),
        ];
        assert_eq!(
            found(Rule::Weights, &files),
            [
                "/models/a.safetensors",
                "/models/pytorch_model-00001-of-2.bin",
                "/c/hub/models--o--n/blobs/0123"
            ]
        );
    }

    #[test]
    fn weights_are_found_by_content_and_the_way_out_names_their_folder() {
        let inventory = inventory(&[layer(&[("srv/llm/blob", 20 * MIB), ("srv/tiny.onnx", MIB)])]);
        let at = number(&inventory, "/srv/llm/blob");
        let contents = Contents { weights: [(at, "GGUF")].into(), ..Contents::default() };
        let draft = ask(Rule::Weights, &inventory, &contents).unwrap();
        assert!(draft.way_out.contains("COPY --link models/ /srv/llm/,"), "{}", draft.way_out);
        assert_eq!(draft.items[0].note.as_deref(), Some("GGUF"));
        assert_eq!(paths(&inventory, Some(draft)), ["/srv/llm/blob", "/srv/tiny.onnx"]);
    }
}
