//! `glowplug image inspect`: what an image is, from its documents alone. No layer is touched, nor the node's store.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use glowplug_base::name::printable;
use glowplug_base::size::human;
use glowplug_image::models::MODELS_ANNOTATION;
use glowplug_image::toc;
use glowplug_oci::{Compression, Descriptor, LayerFormat, Platform};
use glowplug_registry::{ResolvedImage, ResolvedLayer};
use glowplug_toc::index::INDEX_DIGEST_ANNOTATION;
use glowplug_toc::{IndexVersion, SociIndex};
use serde_json::{Value, json};

use super::diet::made_by;
use crate::cli::InspectArgs;
use crate::commands::runtime;
use crate::node::{Artifact, Located, file_document, look_up};
use crate::output::Output;
use crate::page::words::shorten;

/// Columns of the names before values.
const NAME_WIDTH: usize = 12;
/// Characters of a value that are shown; of one that is longer, machines read the middle.
const MAX_VALUE: usize = 500;
/// Annotations by which builders tell that an entry of an index is about another one, and how.
const ABOUT: &str = "vnd.docker.reference.digest";
const ABOUT_TYPE: &str = "vnd.docker.reference.type";
/// Operating system and architecture of what is no image.
const NOWHERE: &str = "unknown";

/// Runs the command.
pub fn inspect(args: &InspectArgs, output: &Output) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let located = look_up(&args.registry, &args.image).await?;
        let soci = located.soci();
        let beside = Beside::look(&located).await;
        let artifact = located.artifact().map_err(|error| format!("{error:#}"));
        let facts = Facts { image: &located.image, soci: soci.index().await, beside, artifact };
        output.result(facts.text(output.style().width).trim_end());
        output.document(&facts.document());
        Ok(())
    })
}

/// Something that refers to the image.
struct Referrer {
    /// To what of it: `manifest` or `index`.
    to: &'static str,
    /// What it is: the artifact's type.
    what: String,
    descriptor: Descriptor,
}

/// What lies beside the image.
struct Beside {
    referrers: Vec<Referrer>,
    /// Why nobody could be asked for some of it.
    trouble: Option<String>,
}

impl Beside {
    async fn look(located: &Located) -> Self {
        let image = &located.image;
        let mut beside = Self { referrers: Vec::new(), trouble: None };
        let subjects = [("manifest", Some(image.manifest_digest)), ("index", image.index_digest)];
        for (to, subject) in subjects.into_iter().filter_map(|(to, digest)| Some((to, digest?))) {
            match located.repository.referrers(&subject, None).await {
                Ok(found) => beside.referrers.extend(found.into_iter().map(|descriptor| {
                    let what = descriptor.artifact_type.as_ref().unwrap_or(&descriptor.media_type).clone();
                    Referrer { to, what, descriptor }
                })),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    beside.trouble = Some(format!("referrers of the {to} cannot be asked for: {error:#}"));
                }
            }
        }
        // What builders attest stands in the index itself.
        for descriptor in image.index.iter().flat_map(|index| &index.manifests) {
            let about = descriptor.annotations.get(ABOUT).map(String::as_str);
            if about == Some(&*image.manifest_digest.to_string()) {
                let what = descriptor.annotations.get(ABOUT_TYPE).unwrap_or(&descriptor.media_type).clone();
                beside.referrers.push(Referrer { to: "manifest", what, descriptor: descriptor.clone() });
            }
        }
        beside
            .referrers
            .sort_by(|a, b| (a.to, &a.what, a.descriptor.digest).cmp(&(b.to, &b.what, b.descriptor.digest)));
        beside.referrers.dedup_by(|a, b| (a.to, a.descriptor.digest) == (b.to, b.descriptor.digest));
        beside
    }
}

/// All that is known about the image.
struct Facts<'a> {
    image: &'a ResolvedImage,
    soci: Option<&'a SociIndex>,
    beside: Beside,
    /// The model artifact that it names, or why what it says of one makes no sense.
    artifact: Result<Option<Artifact>, String>,
}

impl Facts<'_> {
    /// Every platform that the image comes for.
    fn platforms(&self) -> Vec<Platform> {
        let listed = self.image.index.iter().flat_map(|index| &index.manifests);
        let mut platforms = vec![self.image.platform()];
        for platform in listed.filter_map(|entry| entry.platform.clone()).filter(|found| found.os != NOWHERE)
        {
            // An index may be more exact about a platform than the image itself.
            if !platforms.iter().any(|known| known.to_string() == platform.to_string()) {
                platforms.push(platform);
            }
        }
        platforms
    }

    /// The SOCI index in a few words: its version, and the digest if the image's manifest names it.
    fn soci_version(&self, index: &SociIndex) -> (&'static str, Option<String>) {
        match index.version {
            IndexVersion::V1(_) => ("v1", None),
            IndexVersion::V2 => ("v2", self.image.manifest.annotations.get(INDEX_DIGEST_ANNOTATION).cloned()),
        }
    }

    fn text(&self, width: usize) -> String {
        let image = self.image;
        let mut text = Text(format!("{}\n", printable(image.name.as_bytes())));
        if let Some(digest) = image.index_digest {
            text.line("index", digest);
        }
        text.line("manifest", image.manifest_digest);
        let platforms: Vec<String> =
            self.platforms().iter().map(|found| printable(found.to_string().as_bytes())).collect();
        text.line("platform", &platforms[0]);
        text.list("also for", platforms[1..].iter().cloned());
        if let Some(created) = image.config.created() {
            text.line("created", printable(created.as_bytes()));
        }
        self.config(&mut text);
        let size: u64 = image.layers.iter().map(|layer| layer.descriptor.size).sum();
        text.line("layers", format!("{}, {} compressed", image.layers.len(), human(size)));
        for (number, (layer, made_by)) in image.layers.iter().zip(made_by(image)).enumerate() {
            self.layer(&mut text, number, layer, made_by.as_deref(), width);
        }
        // What it says of models is told below.
        let mut annotations = image.manifest.annotations.clone();
        annotations.remove(MODELS_ANNOTATION);
        text.pairs("annotations", &annotations);
        if let Some(index) = &image.index {
            text.pairs("of the index", &index.annotations);
        }
        self.models(&mut text);
        self.beside(&mut text);
        text.0
    }

    /// The files that lie beside the image and belong to it.
    fn models(&self, text: &mut Text) {
        let artifact = match &self.artifact {
            Ok(Some(artifact)) => artifact,
            Ok(None) => return,
            Err(trouble) => return text.list("models", [trouble.clone()]),
        };
        let files = &artifact.models.files;
        let reference = printable(artifact.reference.as_bytes());
        text.line("models", format!("{}, {} in {reference}", files.len(), human(artifact.bytes())));
        for file in files {
            let path = printable(file.path.as_bytes());
            let _ = writeln!(text.0, "{:5}{} {:>8}  {path}", "", file.digest, human(file.size));
        }
    }

    fn config(&self, text: &mut Text) {
        let Some(config) = self.image.config.config() else { return };
        let words = |words: &Option<Vec<String>>| {
            words.iter().map(|words| Value::from(words.clone()).to_string()).collect::<Vec<_>>()
        };
        text.list("entrypoint", words(config.entrypoint()));
        text.list("cmd", words(config.cmd()));
        text.list("env", config.env().iter().flatten().cloned());
        text.list("user", config.user().clone().filter(|user| !user.is_empty()));
        text.list("workdir", config.working_dir().clone().filter(|dir| !dir.is_empty()));
        text.list("ports", config.exposed_ports().iter().flatten().cloned());
        text.list("volumes", config.volumes().iter().flatten().cloned());
        text.list("stop signal", config.stop_signal().clone());
        if let Some(labels) = config.labels() {
            text.pairs("labels", &labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
        }
    }

    fn layer(
        &self,
        text: &mut Text,
        number: usize,
        layer: &ResolvedLayer,
        made_by: Option<&str>,
        width: usize,
    ) {
        let Descriptor { digest, size, media_type, annotations, .. } = &layer.descriptor;
        let mut how = vec![compression(layer.kind.compression).to_owned()];
        if layer.kind.format == LayerFormat::Erofs {
            how.push("EROFS image".to_owned());
        }
        how.extend(toc::kind(layer.kind.compression, annotations).map(|kind| format!("{kind} table")));
        if let Some(ztoc) = self.soci.and_then(|index| index.ztoc_of(digest)) {
            how.push(format!("zTOC of {}", human(ztoc.size)));
        }
        let _ = writeln!(text.0, "{number:>4} {digest} {:>8}  {}", human(*size), how.join(", "));
        let _ = writeln!(text.0, "{:5}{}", "", printable(media_type.as_bytes()));
        if let Some(made_by) = made_by {
            let _ = writeln!(
                text.0,
                "{:5}{}",
                "",
                shorten(&printable(made_by.as_bytes()), width.saturating_sub(5), "…")
            );
        }
    }

    fn beside(&self, text: &mut Text) {
        let mut lines = Vec::new();
        if let Some(index) = self.soci {
            let (version, digest) = self.soci_version(index);
            let (layers, bytes) = (index.ztocs.len(), index.ztocs.iter().map(|ztoc| ztoc.size).sum());
            let digest = digest.map_or_else(String::new, |digest| format!(" {digest}"));
            lines.push(format!(
                "SOCI index {version}{digest}: {layers} layers have a zTOC, {} in all",
                human(bytes)
            ));
        }
        for Referrer { to, what, descriptor } in &self.beside.referrers {
            lines.push(format!(
                "{what} {} {} (refers to the {to})",
                descriptor.digest,
                human(descriptor.size)
            ));
        }
        lines.extend(self.beside.trouble.clone());
        text.list("beside it", lines);
    }

    fn document(&self) -> Value {
        let image = self.image;
        let layers = image.layers.iter().zip(made_by(image)).map(|(layer, made_by)| {
            let Descriptor { digest, size, media_type, annotations, .. } = &layer.descriptor;
            let compression = layer.kind.compression;
            let ztoc = self.soci.and_then(|index| index.ztoc_of(digest));
            json!({ "digest": digest, "bytes": size, "media_type": media_type, "compression": self::compression(compression),
                "diff_id": layer.diff_id, "created_by": made_by, "annotations": annotations,
                "table": toc::kind(compression, annotations).map(|kind| kind.to_string()),
                "ztoc": ztoc.map(|ztoc| json!({ "digest": ztoc.digest, "bytes": ztoc.size })) })
        });
        let referrers = self.beside.referrers.iter().map(|Referrer { to, what, descriptor }| {
            json!({ "to": to, "artifact_type": what, "digest": descriptor.digest, "bytes": descriptor.size,
                "media_type": descriptor.media_type, "annotations": descriptor.annotations })
        });
        let soci = self.soci.map(|index| {
            let (version, digest) = self.soci_version(index);
            json!({ "version": version, "digest": digest, "layers": index.ztocs.len(), "build_tool": index.build_tool,
                "bytes": index.ztocs.iter().map(|ztoc| ztoc.size).sum::<u64>() })
        });
        let models = self.artifact.iter().flatten().next().map(|artifact| artifact.document(file_document));
        // The configuration as it is, since it may say more than this program knows.
        let configuration: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
        let platforms: Vec<String> = self.platforms().iter().map(ToString::to_string).collect();
        json!({ "image": image.name, "index": image.index_digest, "manifest": image.manifest_digest,
            "media_type": image.manifest.media_type, "platform": platforms[0], "platforms": platforms,
            "configuration_digest": image.manifest.config.digest, "configuration": configuration,
            "layers": layers.collect::<Vec<_>>(), "annotations": image.manifest.annotations,
            "index_annotations": image.index.as_ref().map(|index| &index.annotations),
            "models": models, "models_trouble": self.artifact.as_ref().err(),
            "soci": soci, "referrers": referrers.collect::<Vec<_>>(), "referrers_trouble": self.beside.trouble })
    }
}

/// Lines of names and values; values come from whoever made the image.
struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name:<NAME_WIDTH$} {value}");
    }

    /// One line for each value, the name before the first.
    fn list(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        for (number, value) in values.into_iter().enumerate() {
            let value = shorten(&printable(value.as_bytes()), MAX_VALUE, "…");
            self.line(if number == 0 { name } else { "" }, value);
        }
    }

    fn pairs(&mut self, name: &str, pairs: &BTreeMap<String, String>) {
        self.list(name, pairs.iter().map(|(key, value)| format!("{key}={value}")));
    }
}

const fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
