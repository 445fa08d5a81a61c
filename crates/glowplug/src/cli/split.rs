//! Flags of `image diet` that make it take weights out of an image.

use clap::Args;

/// What goes where.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Take model weights out of the image, and publish them here as a model artifact (CNCF ModelPack), beside which the image
    /// runs as before: [REGISTRY/]NAME[:TAG] or oci:DIR[:TAG]. Of an image for several platforms all are taken, and there is an
    /// artifact for each that has other weights; --platform takes one only.
    #[arg(long, value_name = "OUT")]
    pub split_models: Option<String>,
    /// Where the image without them goes; OUT with -image behind its tag by default.
    #[arg(long, value_name = "DEST", requires = "split_models")]
    pub output: Option<String>,
    /// Shortest file to take out.
    #[arg(long, value_name = "SIZE", default_value = "10M", value_parser = super::bytes, requires = "split_models")]
    pub min_model_size: u64,
    /// Take out what lies at or below this path, whatever it is, and nothing else; may be given several times.
    #[arg(long, value_name = "PREFIX", requires = "split_models")]
    pub model_path: Vec<String>,
}
