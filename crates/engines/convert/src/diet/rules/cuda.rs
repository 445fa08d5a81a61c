//! CUDA twice: the same library from the base image, from NVIDIA's wheels, inside another wheel.
//!
//! Told by names, so that copies of different versions count too. The copy that stays is that of NVIDIA's wheels, which
//! is what frameworks installed by pip load; without them the largest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::place::{in_packages, is_shared_library};
use super::super::{Facts, File, Item};
use super::{Draft, Rule};

/// The libraries, without what is behind the name.
const LIBRARIES: [&str; 29] = [
    "libcudart",
    "libcublas",
    "libcublasLt",
    "libcudnn",
    "libcudnn_adv",
    "libcudnn_cnn",
    "libcudnn_graph",
    "libcudnn_ops",
    "libcudnn_engines_precompiled",
    "libcudnn_engines_runtime_compiled",
    "libcudnn_heuristic",
    "libcudnn_adv_infer",
    "libcudnn_adv_train",
    "libcudnn_cnn_infer",
    "libcudnn_cnn_train",
    "libcudnn_ops_infer",
    "libcudnn_ops_train",
    "libcufft",
    "libcurand",
    "libcusolver",
    "libcusolverMg",
    "libcusparse",
    "libcusparseLt",
    "libnccl",
    "libnvrtc",
    "libnvrtc-builtins",
    "libnvJitLink",
    "libcupti",
    "libnvinfer",
];
/// Shorter ones are stubs to link against.
const FROM_BYTES: u64 = 256 << 10;
/// Digits of the digest that auditwheel puts behind names.
const MANGLED_DIGITS: usize = 8;
/// Name of the place that stays.
const WHEELS: &str = "NVIDIA's wheels";

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let mut copies: BTreeMap<&str, Vec<(usize, &File, String)>> = BTreeMap::new();
    for (number, file) in facts.inventory.shown().filter(|(_, file)| file.size >= FROM_BYTES) {
        if let Some(library) = library(file.name()) {
            copies.entry(library).or_default().push((number, file, place(file)));
        }
    }
    let (mut items, mut places) = (Vec::new(), BTreeSet::new());
    for copies in copies.values_mut() {
        copies.sort_by_key(|(_, file, place)| (!place.starts_with(WHEELS), Reverse(file.bytes)));
        let Some(((_, _, stays), others)) = copies.split_first() else { continue };
        for (number, file, place) in others.iter().filter(|(_, _, place)| place != stays) {
            places.extend([place.clone(), stays.clone()]);
            items.push(Item::whole(*number, file).noted(format!("beside the copy of {stays}")));
        }
    }
    items.sort_by_key(|item| item.file);
    let places: Vec<String> = places.into_iter().collect();
    let way_out = format!(
        "CUDA is in {}. Packages from PyPI bring their own: build FROM python:3-slim, or FROM nvidia/cuda:…-base where the \
         driver's tools are wanted, instead of an image with the toolkit; of several wheels with CUDA inside, choose \
         builds for the same CUDA.",
        places.join(" and in ")
    );
    Rule::Cuda.draft(items, way_out)
}

/// The library that a file name stands for: `libcudart-d0da41ae.so.11.0` is `libcudart`.
fn library(name: &str) -> Option<&str> {
    let (stem, _) = name.split_once(".so").filter(|_| is_shared_library(name))?;
    let is_digest =
        |text: &str| text.len() == MANGLED_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let plain = stem.rsplit_once('-').filter(|(_, behind)| is_digest(behind)).map_or(stem, |(stem, _)| stem);
    LIBRARIES.contains(&plain).then_some(plain)
}

/// Whose copy it is.
fn place(file: &File) -> String {
    match in_packages(&file.path).and_then(|inside| inside.split_once('/')) {
        Some(("nvidia", _)) => match file.name().split_once(".so.") {
            // Wheels of two versions of CUDA are two copies.
            Some((_, version)) => format!("{WHEELS} ({})", version.split('.').next().unwrap_or_default()),
            None => WHEELS.to_owned(),
        },
        Some((package, _)) => format!("the package {}", package.trim_end_matches(".libs")),
        None => match file.path.split_once("/cuda") {
            Some((before, behind)) => {
                let version = behind.split('/').next().unwrap_or_default();
                format!("{before}/cuda{version}")
            }
            None => file.directory().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{ask, found, inventory, layer};
    use super::super::super::{Contents, Rule};

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_toolkit_beside_the_wheels_is_one_copy_too_many() {
        let files = [
            ("usr/local/cuda-12.4/lib64/libcublas.so.12.4.5", 100 * MIB),
            ("usr/local/cuda-12.4/lib64/libnpps.so.12", 10 * MIB),
            ("usr/local/cuda-12.4/lib64/stubs/libcublas.so", 9_000),
            ("usr/lib/python3/dist-packages/nvidia/cublas/lib/libcublas.so.12", 90 * MIB),
            ("usr/lib/python3/dist-packages/ctranslate2.libs/libcublas-0a1b2c3d.so.12.1", 95 * MIB),
            ("usr/lib/python3/dist-packages/nvidia/nccl/lib/libnccl.so.2", 200 * MIB),
        ];
        assert_eq!(
            found(Rule::Cuda, &files),
            [
                "/usr/local/cuda-12.4/lib64/libcublas.so.12.4.5",
                "/usr/lib/python3/dist-packages/ctranslate2.libs/libcublas-0a1b2c3d.so.12.1"
            ]
        );
        let draft = ask(Rule::Cuda, &inventory(&[layer(&files)]), &Contents::default()).unwrap();
        for place in ["/usr/local/cuda-12.4", "NVIDIA's wheels (12)", "the package ctranslate2"] {
            assert!(draft.way_out.contains(place), "{}", draft.way_out);
        }
    }

    #[test]
    fn one_copy_of_each_is_no_finding() {
        let files = [
            ("usr/local/cuda/lib64/libcublas.so.12", 100 * MIB),
            ("usr/local/cuda/targets/x86_64-linux/lib/libcublasLt.so.12", 100 * MIB),
            ("usr/lib/x86_64-linux-gnu/libcudnn.so.9", 10 * MIB),
        ];
        assert!(found(Rule::Cuda, &files).is_empty());
        let two = ["11", "12"]
            .map(|version| format!("usr/lib/python3/site-packages/nvidia/a{version}/libcudart.so.{version}"));
        assert_eq!(
            found(Rule::Cuda, &[(&two[0], MIB), (&two[1], 2 * MIB)]).len(),
            1,
            "two versions are two copies"
        );
    }
}
