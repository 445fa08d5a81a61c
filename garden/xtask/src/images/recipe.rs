//! What each image is made of, and what it is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::layout::Process;
use super::python::{self, Bytecode};
use super::{blob, debian, tiny};
use crate::interrupt::Partial;
use crate::packages::debian::{Deb, Debian, fingerprint};
use crate::packages::python::{DIST_PACKAGES, Python};
use crate::paths;
use crate::question::{Expected, Question};
use crate::tree::Tree;

/// Raised whenever the code that makes images changes what it makes.
const RECIPES_VERSION: u32 = 2;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The test images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Name {
    /// busybox and some megabytes: for tests.
    Tiny,
    /// onnxruntime and rapidocr behind HTTP: a picture in, its text out.
    Ocr,
    /// torch with CUDA and sentence-transformers behind HTTP: a text in, its embedding out. Several GB.
    Torch,
    /// The Triton server with its Python backend and one model with a warm-up.
    Triton,
}

/// What is done to installed packages before they are packed; given the folder that they are installed in.
pub type Finish<'a> = &'a dyn Fn(&Path) -> anyhow::Result<()>;

/// One layer to be packed.
pub struct Layer {
    /// What the image's history says about it.
    pub made_by: String,
    /// What it holds.
    pub tree: Tree,
    /// Where the files lie that the tree refers to; removed with the layer.
    #[expect(dead_code, reason = "held for its drop")]
    pub scratch: Option<Partial>,
}

impl Name {
    /// Its name on the command line and in the registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Ocr => "ocr",
            Self::Torch => "torch",
            Self::Triton => "triton",
        }
    }

    fn folder(self) -> PathBuf {
        paths::recipes().join(self.name())
    }

    /// The lock file of its Python packages.
    pub fn lock_file(self) -> Option<PathBuf> {
        (self != Self::Tiny).then(|| self.folder().join("requirements.txt"))
    }

    /// The Python modules that its server begins with, if it is one in Python.
    pub fn imports(self) -> Option<&'static str> {
        match self {
            Self::Tiny | Self::Triton => None,
            Self::Ocr => Some("rapidocr_onnxruntime"),
            Self::Torch => Some("torch"),
        }
    }

    /// The Debian packages beside the base.
    fn debian_packages(self) -> &'static [&'static str] {
        match self {
            Self::Tiny => &[],
            // opencv-python is linked against GL and GLib.
            Self::Ocr => &["python3", "libgl1", "libglib2.0-0"],
            // Wheels take the C++ library from the system.
            Self::Torch => &["python3", "libstdc++6"],
            Self::Triton => &["python3", "libpython3.11", "libstdc++6"],
        }
    }

    /// Resolves the Debian packages and reads the lock file.
    pub fn recipe(self, debian: &Debian) -> anyhow::Result<Recipe> {
        let (base, all) = if self == Self::Tiny {
            (Vec::new(), debian.exactly(&["busybox-static"])?)
        } else {
            let names: Vec<&str> = debian::BASE.iter().chain(self.debian_packages()).copied().collect();
            (debian.closure(debian::BASE)?, debian.closure(&names)?)
        };
        Ok(Recipe { name: self, base, all })
    }

    /// What a client asks, and what the right answer is.
    pub fn question(self) -> anyhow::Result<Question> {
        Ok(match self {
            Self::Tiny => Question::get(tiny::ANSWER_PATH, Expected::Text(tiny::ANSWER.trim().to_owned())),
            Self::Ocr => {
                let picture = std::fs::read(self.folder().join("picture.png"))?;
                let text = std::fs::read_to_string(self.folder().join("picture.txt"))?;
                Question::post("/", "image/png", picture, Expected::Text(text.trim().to_owned()))
            }
            Self::Torch => Question::post(
                "/",
                "text/plain; charset=utf-8",
                b"A glow plug lets a cold diesel engine start.".to_vec(),
                Expected::UnitVector { dimensions: 384 },
            ),
            Self::Triton => Question::post(
                "/v2/models/double/infer",
                "application/json",
                br#"{"inputs":[{"name":"X","datatype":"FP32","shape":[1,2],"data":[1.5,4.0]}]}"#.to_vec(),
                Expected::Containing("[3.0,8.0]".to_owned()),
            ),
        })
    }

    /// Where the server says that it is ready.
    pub fn ready_path(self) -> &'static str {
        if self == Self::Triton { "/v2/health/ready" } else { "/healthz" }
    }
}

/// An image with everything that it is made of resolved.
pub struct Recipe {
    name: Name,
    base: Vec<Deb>,
    all: Vec<Deb>,
}

impl Recipe {
    /// Which image.
    pub fn name(&self) -> Name {
        self.name
    }

    /// One line that changes whenever the image would.
    pub fn inputs(&self) -> String {
        let mut files = self.name.lock_file().and_then(|lock| std::fs::read(lock).ok()).unwrap_or_default();
        read_all(&self.name.folder().join("app"), &mut files);
        let own = blob::sha256_hex(&files);
        format!("{RECIPES_VERSION} {:016x} {:016x} {own}", fingerprint(&self.base), fingerprint(&self.all))
    }

    /// What goes into the manifest.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        debian::versions(&self.all)
    }

    /// What a container runs.
    pub fn process(&self) -> Process {
        let command: &[&str] = match self.name {
            Name::Tiny => &["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"],
            Name::Ocr | Name::Torch => &["python3", "/app/server.py"],
            Name::Triton => &["/bin/sh", "/app/start.sh"],
        };
        let mut env = vec![PATH.to_owned()];
        if self.name != Name::Tiny {
            env.push("LANG=C.UTF-8".to_owned());
            env.push("PYTHONUNBUFFERED=1".to_owned());
        }
        if self.name == Name::Torch {
            env.push("HF_HUB_OFFLINE=1".to_owned());
            env.push("PYTHONDONTWRITEBYTECODE=1".to_owned());
        }
        Process {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env,
            folder: if self.name == Name::Tiny { "/" } else { "/app" }.to_owned(),
        }
    }

    /// Makes the layers, the lowest first.
    pub fn layers(&self) -> anyhow::Result<Vec<Layer>> {
        let Some(lock) = self.name.lock_file() else {
            let package = Tree::from_debs(self.all.iter().map(|deb| &*deb.file))?;
            return Ok(tiny::layers(
                package.bytes("usr/bin/busybox").context("no busybox in busybox-static")?,
            ));
        };
        let python = Python::open(&Debian::open()?)?;
        let label = self.name.name();
        let (bytecode, finish): (_, Finish<'_>) = match self.name {
            Name::Torch => (Bytecode::LeftOut, &|_| Ok(())),
            Name::Triton => (Bytecode::Compiled, &prepare_triton),
            Name::Tiny | Name::Ocr => (Bytecode::Compiled, &|_| Ok(())),
        };
        let base = Layer {
            made_by: "Debian 12, minimal".to_owned(),
            tree: debian::base(&self.base)?,
            scratch: None,
        };
        Ok(vec![
            base,
            python::from_debian(&python, &self.all, &self.base)?,
            python::from_pypi(&python, label, &lock, bytecode, finish)?,
            python::app(&self.name.folder().join("app"))?,
        ])
    }
}

/// A wheel keeps no modes, and the Python backend wants the stub of its own Python version beside it.
fn prepare_triton(installed: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let server = installed.join(DIST_PACKAGES).join("pytriton/tritonserver");
    let stub = server.join("backends/python/triton_python_backend_stub");
    std::fs::copy(server.join("python_backend_stubs/3.11/triton_python_backend_stub"), &stub)
        .context("no stub for Python 3.11 in the wheel")?;
    for program in [stub, server.join("bin/tritonserver")] {
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

fn read_all(folder: &Path, into: &mut Vec<u8>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    for path in paths {
        into.extend_from_slice(path.file_name().unwrap_or_default().as_encoded_bytes());
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.extend(std::fs::read(&path).unwrap_or_default());
        }
    }
}
