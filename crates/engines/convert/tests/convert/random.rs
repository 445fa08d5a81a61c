//! Images as chance has them: in whatever order and pieces their layers come, the tree is the same.

use std::collections::BTreeSet;

use glowplug_convert::{Dialect, Encoding, LEAST_LAYER_BYTES, Settings};
use glowplug_testkit::{Entry, Layer, Tree};

use crate::fixture::{at, convert, image, layer, noise, settings};
use crate::looked::look;

/// Chance, the same for the same seed.
struct Chance(std::vec::IntoIter<u8>);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(noise(seed, 1 << 16).into_iter())
    }

    fn below(&mut self, end: usize) -> usize {
        (usize::from(self.0.next().unwrap()) << 8 | usize::from(self.0.next().unwrap())) % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

const DIRECTORIES: [&str; 6] = ["a", "a/b", "a/b/c", "d", "d/e", "f"];

/// A layer above one that has `below`, to which its own files are added. `twice` says that a path may come twice.
fn a_layer(chance: &mut Chance, below: &mut BTreeSet<String>, twice: bool) -> Layer {
    let mut own: BTreeSet<String> = BTreeSet::new();
    let mut whiteouts: BTreeSet<String> = BTreeSet::new();
    let tar = Tree::build(|tree| {
        let at = |chance: &mut Chance| (10 + chance.below(1000)) as u64;
        for name in DIRECTORIES {
            if !chance.one_in(3) {
                let mode = [0o755, 0o700, 0o2775][chance.below(3)];
                let owner = chance.below(3) as u64;
                let entry = Entry::dir(name).mode(mode).owner(owner, owner).mtime(at(chance), 0);
                tree.add(if chance.one_in(4) { entry.xattr("user.of", name) } else { entry });
                if !below.is_empty() && chance.one_in(5) {
                    tree.opaque(name);
                }
            }
        }
        let mut files: Vec<String> = Vec::new();
        for _ in 0..chance.below(40) {
            let directory = chance.below(DIRECTORIES.len() + 1);
            let name = format!("n{}", chance.below(30));
            let path = DIRECTORIES.get(directory).map_or(name.clone(), |above| format!("{above}/{name}"));
            let again = !own.insert(path.clone());
            if again && (!twice || !chance.one_in(10)) {
                continue;
            }
            let contents = noise(chance.below(5000) as u64, chance.below(30_000));
            match chance.below(8) {
                0 => _ = tree.symlink(&path, ["a", "n1", "/d/e"][chance.below(3)]),
                1 if !files.is_empty() => {
                    let target = files[chance.below(files.len())].clone();
                    tree.add(Entry::hardlink(&path, target).mode(0o600).mtime(at(chance), 0));
                    files.push(path);
                }
                2 => _ = tree.add(Entry::fifo(&path)),
                _ => {
                    tree.add(Entry::file(&path, contents).mode(0o640).mtime(at(chance), 0));
                    files.push(path);
                }
            }
        }
        for path in below.iter() {
            // Mostly of what the layer does not have itself.
            if chance.one_in(6) && (!own.contains(path) || chance.one_in(20)) {
                whiteouts.insert(path.clone());
                tree.whiteout(path);
            }
        }
    });
    below.retain(|path| !whiteouts.contains(path));
    below.extend(own);
    layer(tar)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_stays() {
    let mut split = 0;
    for seed in 0..40 {
        let mut chance = Chance::of(seed);
        let mut below = BTreeSet::new();
        let encodings =
            [Encoding::Gzip, Encoding::Zstd, Encoding::Estargz, Encoding::ZstdChunked(Dialect::Storage)];
        let encoding = encodings[chance.below(4)];
        // A table has the last of two entries only, and a hard link to the first leads nowhere then.
        let twice = matches!(encoding, Encoding::Gzip | Encoding::Zstd) && chance.one_in(3);
        let count = 1 + chance.below(4);
        let layers: Vec<Layer> = (0..count).map(|_| a_layer(&mut chance, &mut below, twice)).collect();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        image(layers).build().write_layout(&from, None);
        let before = look(&from).await;
        let mut order: Vec<String> = below.into_iter().collect();
        for position in 0..order.len() {
            order.swap(position, chance.below(position + 1));
        }
        order.truncate(chance.below(order.len() + 1));
        let layer_bytes = (!chance.one_in(4)).then(|| LEAST_LAYER_BYTES + chance.below(1 << 16) as u64);
        let settings = Settings { order, layer_bytes, ..settings(encoding) };
        let converted = convert(&at(&from, ""), &at(&to, ""), &settings).await.unwrap();
        split += converted.layers.iter().filter(|layer| layer.piece > 0).count();
        look(&to).await.assert_same(&before, &format!("seed {seed}, {settings:?}")).await;
    }
    assert!(split > 40, "{split} layers came of splitting");
}
