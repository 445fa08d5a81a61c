//! Rule `floors`: a crate imports crates on lower floors only.
//!
//! Tests may go sideways (one format is proved against another) and may use the test kit; nothing else of the garden
//! is ever imported by the house, and the garden itself may import anything.

use super::Finding;
use super::manifest::Kind;
use super::tree::{Crate, Place};

/// Sideways imports that were argued for, by room: who, and whom.
///
/// Every line is one edge of the house's drawing. A new line needs a decision record.
const SIDEWAYS: [(&str, &str); 12] = [
    // The timeline counts bytes and nanoseconds in the words of base.
    ("timeline", "base"),
    ("toc", "tarwalk"),
    ("toc", "gzindex"),
    ("erofs", "tarwalk"),
    ("store", "source"),
    ("registry", "source"),
    ("objects", "source"),
    ("convert", "image"),
    ("mount", "linux"),
    ("sandbox", "linux"),
    ("sandbox", "mount"),
    ("serve", "capacity"),
];

/// The one garden crate the house's tests may import.
const TEST_KIT: &str = "testkit";

/// Checks every import between our own crates.
pub fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        let path = &member.manifest.path;
        let floor = match member.place {
            Place::Floor(floor) => floor,
            Place::Garden => continue,
            Place::Nowhere => {
                findings.push(Finding::new(path, 1, "floors", "lies on no floor and not in the garden"));
                continue;
            }
        };
        for dependency in &member.manifest.dependencies {
            let Some(other) = crates.iter().find(|other| other.manifest.name == dependency.package) else {
                continue;
            };
            let (from, to) = (member.room(), other.room());
            let wrong = match other.place {
                Place::Garden if dependency.kind == Kind::Dev && to == TEST_KIT => None,
                Place::Garden => Some(format!("{from} imports {to} from the garden")),
                Place::Floor(below) if below < floor => None,
                Place::Floor(same) if same == floor => {
                    let allowed = dependency.kind == Kind::Dev || SIDEWAYS.contains(&(from, to));
                    (!allowed).then(|| {
                        format!("{from} imports {to} sideways on floor {floor}, which is not listed")
                    })
                }
                Place::Floor(above) => Some(format!("{from} on floor {floor} imports {to} on floor {above}")),
                // Reported where that crate itself is looked at.
                Place::Nowhere => None,
            };
            findings.extend(wrong.map(|message| Finding::new(path, dependency.line, "floors", message)));
        }
    }
    findings
}
