//! A registry, two nodes that know each other, and images whose layers are cut into pieces.

use glowplug_e2e::{PeerNode, PeerPorts};
use glowplug_oci::{Descriptor, Platform};
use glowplug_testkit::{Image, ImageBuilder, Layer, TestRegistry};

/// Bytes of the layers of [`image`], a few pieces and a tail each, before they are compressed, which changes little.
const LAYERS: [usize; 2] = [5 << 20, 3 << 20];

/// Two nodes that know each other, at once; `more` are arguments of both.
pub fn pair(more: &[&str]) -> (PeerNode, PeerNode) {
    let ports = [PeerPorts::free(), PeerPorts::free()];
    let node = |at: usize| PeerNode::start(ports[at], &ports, more);
    (node(0), node(1))
}

/// A node that knows nobody.
pub fn alone() -> PeerNode {
    PeerNode::start(PeerPorts::free(), &[], &[])
}

/// An image for this machine that differs from those of other seeds in every layer.
pub fn image(seed: u32) -> Image {
    image_of(seed, &LAYERS)
}

/// The same with layers of so many bytes.
pub fn image_of(seed: u32, layers: &[usize]) -> Image {
    let layers = layers.iter().enumerate();
    let image = layers.fold(ImageBuilder::new(), |image, (at, bytes)| {
        let content = noise(*bytes, seed * 16 + at as u32);
        image.layer(Layer::gzip(|tree| _ = tree.file(&format!("data-{at}"), content)))
    });
    image.cmd(["/bin/true"]).build()
}

/// Puts the image into a registry behind an index with one for another platform, as most images are.
pub fn push(registry: &TestRegistry, name: &str, image: &Image) {
    let (repository, tag) = name.split_once(':').unwrap();
    let other = ImageBuilder::new().platform(&Platform::new("linux", "s390x")).push(registry, repository);
    image.push(registry, repository);
    let listed: Vec<Descriptor> = vec![other.descriptor(), image.descriptor()];
    registry.put_index(repository, Some(tag), listed);
}

/// What the kubelet calls the image.
pub fn id(image: &Image) -> String {
    glowplug_base::Digest::of(&image.config).to_string()
}

/// Bytes of all blobs of the image.
pub fn size(image: &Image) -> u64 {
    image.blobs().map(|blob| blob.len() as u64).sum()
}

/// Bytes of blobs that the registry sent.
pub fn egress(registry: &TestRegistry) -> u64 {
    let sent = registry.blob_requests().into_iter().map(|asked| {
        let digest = asked.path.rsplit('/').next().unwrap().parse().unwrap();
        let size = registry.blob(&digest).unwrap().len() as u64;
        let Some(range) = asked.range.as_deref().and_then(|range| range.strip_prefix("bytes=")) else {
            return size;
        };
        let (first, last) = range.split_once('-').unwrap();
        last.parse().map_or(size, |last: u64| last + 1) - first.parse::<u64>().unwrap()
    });
    sent.sum()
}

/// Bytes that differ wherever they are read from.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
