//! What makes and reads lazy images by the libraries of those whom such images are for, without any daemon: for
//! `cargo xtask roundtrip` and `cargo xtask bench convert`.

use std::path::PathBuf;

use super::tool::{Source, Tool};
use super::{SOCI, minutes};
use crate::{paths, step};

/// Makes and reads layers that have a table in them. It has its own `go.mod` and not that of `prepare`, whose package
/// `layout` it uses, so that the peers' images need not be made again for its sake.
const ROUNDTRIP: Tool = roundtrip("github.com/containerd/stargz-snapshotter");
/// The same; its other version.
const STORAGE: Tool = roundtrip("github.com/containers/storage");
/// Makes and reads SOCI's tables.
const ZTOC: Tool = Tool {
    name: "ztoc",
    source: Source::Go {
        packages: &["./check-ztoc", "./make-ztocs"],
        module: "github.com/awslabs/soci-snapshotter",
        zlib: true,
    },
    programs: &["check-ztoc", "make-ztocs"],
};

const fn roundtrip(module: &'static str) -> Tool {
    Tool {
        name: "roundtrip",
        source: Source::Go { packages: &["./convert-layers", "./list-image"], module, zlib: false },
        programs: &["convert-layers", "list-image"],
    }
}

/// A program of [`make`].
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// Makes eStargz and zstd:chunked images.
    ConvertLayers,
    /// Lists and reads the layers of an image.
    ListImage,
    /// Holds a zTOC against the reference.
    CheckZtoc,
    /// Makes zTOCs and nothing else.
    MakeZtocs,
    /// SOCI's own command.
    Soci,
}

impl Program {
    /// Where it lies.
    pub fn path(self) -> PathBuf {
        let (tool, name) = match self {
            Self::ConvertLayers => (&ROUNDTRIP, "convert-layers"),
            Self::ListImage => (&ROUNDTRIP, "list-image"),
            Self::CheckZtoc => (&ZTOC, "check-ztoc"),
            Self::MakeZtocs => (&ZTOC, "make-ztocs"),
            Self::Soci => (&SOCI, "soci"),
        };
        paths::peers().join(tool.name).join(name)
    }
}

/// Builds what is not built yet.
pub fn make() -> anyhow::Result<()> {
    for tool in [&ROUNDTRIP, &ZTOC, &SOCI].into_iter().filter(|tool| !tool.is_made()) {
        step::say(format!("building {}", tool.version()?));
        let took = tool.make()?;
        step::say(format!("{} took {}", tool.name, minutes(took)));
    }
    Ok(())
}

/// The versions, for the record.
pub fn versions() -> anyhow::Result<Vec<String>> {
    [&ROUNDTRIP, &STORAGE, &ZTOC].into_iter().map(Tool::version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_pinned_version() {
        for version in versions().unwrap() {
            assert!(version.contains(" v"), "{version}");
        }
    }

    #[test]
    fn each_program_is_one_that_is_built() {
        let programs = [
            Program::ConvertLayers,
            Program::ListImage,
            Program::CheckZtoc,
            Program::MakeZtocs,
            Program::Soci,
        ];
        for path in programs.map(Program::path) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let tool = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let tools = [&ROUNDTRIP, &ZTOC, &SOCI];
            let tool = tools.into_iter().find(|known| known.name == tool).unwrap();
            assert!(tool.programs.contains(&name), "{}", path.display());
        }
    }
}
