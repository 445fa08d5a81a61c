//! The flags, as typed. The comments here are the program's help, written for a terminal.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets mean `optional` here")]

mod arrange;
mod peer;
mod split;
mod store;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use arrange::ArrangeArgs;
pub use peer::PeerServeArgs;
pub use split::SplitArgs;

/// The cold start of AI inference, made short: start a container before its image is here, and see where the time went.
#[derive(Debug, Parser)]
#[command(name = "glowplug", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Directory of the node's byte store; by default /var/lib/glowplug, and for others than root glowplug in their cache directory.
    #[arg(
        long,
        global = true,
        env = "GLOWPLUG_STORE",
        default_value_os_t = store::of_this_user(),
        hide_default_value = true,
        value_name = "DIR"
    )]
    pub store: PathBuf,
    /// Bytes of layer data the store may keep, such as 50G.
    #[arg(long, global = true, env = "GLOWPLUG_QUOTA", value_parser = bytes, value_name = "SIZE")]
    pub quota: Option<u64>,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print what happens inside.
    #[arg(long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a container from an image whose bytes are not here yet.
    Run(Box<RunArgs>),
    /// Say how an image would start here: which layers are lazy and why, and how long it would take.
    Explain(ExplainArgs),
    /// Make images quick to start for everybody who pulls them.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Look after the node's byte store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Share what the nodes of a cluster fetch, so that the registry sends it about once.
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Draw the timeline of a start again.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Check what this machine can do, and say what to do about what it cannot.
    Doctor(DoctorArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory; made if it is not there.
        dir: PathBuf,
    },
}

/// Commands of the peer tier.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Serve the peers of this node, and this machine as a registry mirror, until ended. Point containerd or `glowplug run --mirror` at
    /// the address of --local. What comes of an image is checked by whoever reads it, so peers need not be trusted for that; for the
    /// indexes that they make see --no-peer-indexes.
    Serve(PeerServeArgs),
}

/// How a registry is reached.
#[derive(Debug, Clone, Args)]
pub struct ReachArgs {
    /// Use HTTP without TLS. Loopback registries need no asking.
    #[arg(long)]
    pub plain_http: bool,
    /// Do not check the certificate of this host; may be given several times.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure: Vec<String>,
    /// Ask this mirror first; may be given several times.
    #[arg(long, value_name = "REGISTRY=MIRROR")]
    pub mirror: Vec<String>,
    /// A PEM file with further certificate authorities; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,
}

/// How a registry is reached, and which image of several is meant.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    #[command(flatten)]
    pub reach: ReachArgs,
    /// Platform to choose from a multi-platform image, such as linux/arm64; this machine's by default.
    #[arg(long)]
    pub platform: Option<String>,
    /// The key of this node's peer service, where one is a --mirror; by default peer/key in the store's directory. Who may read it
    /// offers indexes and start profiles to the node's peers, and takes theirs.
    #[arg(long, value_name = "FILE")]
    pub peer_key: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Publish a port: [address:][host-port:]container-port. May be given several times.
    #[arg(long, short, value_name = "PORT")]
    pub publish: Vec<String>,
    /// When the start is over: http://[host]:port/path, tcp:PORT, v2:MODEL, log:REGEX or exec:CMD.
    #[arg(long, value_name = "PROBE")]
    pub ready: Option<String>,
    /// How long readiness may take; the time counts only while no bytes move.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub ready_timeout: u64,
    /// End when ready, instead of running on.
    #[arg(long)]
    pub until_ready: bool,
    /// End the container when a layer turns out to hold something else than the index shows that was published for it.
    #[arg(long)]
    pub strict: bool,
    /// Write the timeline to a file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Set or remove a variable: NAME=value or NAME. May be given several times.
    #[arg(long, short, value_name = "VAR")]
    pub env: Vec<String>,
    /// Bind a path of this machine: host:container[:ro]. May be given several times.
    #[arg(long, short, value_name = "BIND")]
    pub volume: Vec<String>,
    /// Replace the image's entrypoint.
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// User and group: user[:group] by name or number.
    #[arg(long, short, value_name = "USER")]
    pub user: Option<String>,
    /// Working directory.
    #[arg(long, short, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Name of the container; made up by default.
    #[arg(long)]
    pub name: Option<String>,
    /// Host name of the container.
    #[arg(long)]
    pub hostname: Option<String>,
    /// The container's network: host; private, its own with published ports and a way out; or isolated, its own with published ports and
    /// no way out.
    #[arg(long, default_value = "host", value_parser = ["host", "private", "isolated"])]
    pub network: String,
    /// Make the root file system read-only.
    #[arg(long)]
    pub read_only: bool,
    /// Memory limit, such as 4G.
    #[arg(long, short, value_parser = bytes, value_name = "SIZE")]
    pub memory: Option<u64>,
    /// CPU limit, such as 1.5.
    #[arg(long, value_name = "N")]
    pub cpus: Option<f64>,
    /// Limit of processes and threads.
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<u64>,
    /// Size of /dev/shm, such as 2G.
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    pub shm_size: Option<u64>,
    /// Add a capability; ALL for all.
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Take a capability away; ALL for all.
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// Security options: no-new-privileges, seccomp=unconfined.
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Resource limit: name=soft[:hard].
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// Device by its CDI name, such as nvidia.com/gpu=all.
    #[arg(long, value_name = "CDI")]
    pub device: Vec<String>,
    /// Who makes the container: embedded, runc, crun, or a path.
    #[arg(long, default_value = "embedded")]
    pub runtime: String,
    /// Remove the container's writable files when it ends. They always go; accepted for Docker's sake.
    #[arg(long)]
    pub rm: bool,
    /// The image: [REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE.
    pub image: String,
    /// Replaces the image's command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Flags of `image optimize`.
#[derive(Debug, Args)]
pub struct OptimizeArgs {
    /// Take the profile from a file that --save wrote, and start nothing.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Write the profile to a file, too.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Publish nothing; goes with --save.
    #[arg(long, requires = "save")]
    pub dry_run: bool,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Link speed to predict for, in Mbit/s.
    #[arg(long, value_name = "MBIT", default_value_t = 1000)]
    pub link: u64,
    /// The image.
    pub image: String,
}

/// Commands on images in their registries. They need no root, and those that look into no files not the node's store.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make the SOCI index of an image and publish it, so that its first start on any node is lazy.
    Index(IndexArgs),
    /// Pack the layers of an image anew, so that lazy readers need only what they read, and publish the result under another name. Its
    /// digest changes, so signatures and attestations of the image are not about it.
    Convert(ConvertArgs),
    /// Publish what starts of an image read, and in which order, so that the first start on any other node streams in that order.
    /// Without a recorded start the image is started once, until it is ready. The image and its digest stay as they are.
    Optimize(Box<OptimizeArgs>),
    /// Say what an image is made of and what to do about it, worst first. It is opened in the node's store: layers without an
    /// index stream by once.
    Diet(DietArgs),
    /// Say what an image is: digests, platforms, configuration, layers, and what lies beside it. No layer is touched.
    Inspect(InspectArgs),
    /// List files of an image, all layers merged, without pulling it.
    ///
    /// It is opened in the node's store: of layers with an index, there or published, nothing else moves; others stream by once and are
    /// kept there.
    Ls(LsArgs),
    /// Print files of an image without pulling it: only what holds their bytes moves. Layers without an index stream by once.
    Cat(CatArgs),
    /// Say what differs between the files of two images, and why.
    ///
    /// All layers are merged first, so that layers are of no matter. Files of equal size and modification time count as the same. Exit
    /// status: 0 if nothing differs, 1 if something does, 2 in trouble.
    Diff(DiffArgs),
}

/// Flags of `image inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The image: [REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE.
    pub image: String,
}

/// Flags of `image ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// One line for each file: type and mode, number of hard links, user, group, bytes, modification time in UTC, number of the layer that
    /// it comes from, the lowest being 0, and name. A link is shown itself, and where it leads.
    #[arg(long, short)]
    pub long: bool,
    /// List everything below, by its whole path.
    #[arg(long, short = 'R')]
    pub recursive: bool,
    /// The image.
    pub image: String,
    /// The directory or file in it.
    #[arg(default_value = "/")]
    pub path: OsString,
}

/// Flags of `image cat`.
#[derive(Debug, Args)]
pub struct CatArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The image.
    pub image: String,
    /// The files in it. Symbolic links are followed inside the image.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
}

/// Flags of `image diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Let files count as changed whose modification time alone is another.
    #[arg(long)]
    pub times: bool,
    /// Read files of equal size and time, too. Without it they count as the same; those of equal size and different times are always
    /// read, up to the first byte that differs.
    #[arg(long)]
    pub contents: bool,
    /// The image before.
    #[arg(value_name = "A")]
    pub before: String,
    /// The image after.
    #[arg(value_name = "B")]
    pub after: String,
}

/// Flags of `image index`.
#[derive(Debug, Args)]
pub struct IndexArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// v1 is an index that refers to the image, which stays as it is. v2 is an index that a copy of the image names;
    /// the copy has another digest, and goes by --tag.
    #[arg(long, default_value = "v1", value_parser = ["v1", "v2"])]
    pub format: String,
    /// Tag of the copy that --format v2 makes, in the image's own repository.
    #[arg(long, required_if_eq("format", "v2"))]
    pub tag: Option<String>,
    /// Layers smaller than this are not indexed: fetching them as a whole is as quick.
    #[arg(long, value_parser = bytes, default_value = "10M", value_name = "SIZE")]
    pub min_layer_size: u64,
    /// Decoded bytes between two places where reading can begin, 256K to 16M: smaller ones make reads wait for less,
    /// and the index larger, by 32 KiB for each.
    #[arg(long, value_parser = span_bytes, default_value = "4M", value_name = "SIZE")]
    pub span_size: u64,
    /// The image: [REGISTRY/]NAME[:TAG][@DIGEST] or oci:DIR[:TAG].
    pub image: String,
}

/// Flags of `image convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    pub reach: ReachArgs,
    /// What layers become. estargz: gzip with a table of contents in it, for the stargz snapshotter. zstd-chunked: zstd with a table
    /// beside the files, for podman and CRI-O. gzip and zstd: pieces of 1 MiB, for everybody.
    #[arg(long, value_name = "FORMAT", value_parser = ["estargz", "zstd-chunked", "zstd", "gzip"])]
    pub to: String,
    /// Where the result goes: [REGISTRY/]NAME[:TAG] or oci:DIR[:TAG]; the directory is made if it is not there.
    #[arg(long, short, value_name = "DEST")]
    pub output: String,
    /// Whose zstd-chunked it is: storage is that of podman and CRI-O, stargz that of the stargz snapshotter.
    #[arg(long, default_value = "storage", value_parser = ["storage", "stargz"])]
    pub dialect: String,
    /// Longest piece of a file that is fetched as one, 16K to 32M; for estargz and zstd-chunked.
    #[arg(long, value_parser = chunk_bytes, default_value = "4M", value_name = "SIZE")]
    pub chunk_size: u64,
    /// How hard to compress: 1 to 12 for gzip and estargz, 6 by default; 1 to 22 for zstd and zstd-chunked, 3 by default.
    #[arg(long, value_name = "N")]
    pub level: Option<i32>,
    #[command(flatten)]
    pub arrange: ArrangeArgs,
    /// Take this platform only, such as linux/arm64; may be given several times. All of them by default.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Vec<String>,
    /// The image: [REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE.
    pub image: String,
}

/// Flags of `image diet`.
#[derive(Debug, Args)]
pub struct DietArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Link speed to count seconds for, in Mbit/s.
    #[arg(long, value_name = "MBIT", default_value_t = 1000)]
    pub link: u64,
    /// Files to name for each finding; --json names all of them.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
    /// Go by names and places only: no file is read, and copies and debug symbols are not found.
    #[arg(long)]
    pub no_contents: bool,
    /// Write a self-contained HTML page with a map of the image.
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub split: SplitArgs,
    /// The image.
    pub image: String,
}

/// Commands on the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List images and layers.
    Ls,
    /// Remove layers that no known image has, and evict down to the quota.
    Gc,
    /// Check every present span against its digest; damaged ones are fetched again when they are wanted.
    Verify,
    /// Remove images, or only their data.
    Rm {
        /// Keep indexes, images and profiles; give only the data back to the disk.
        #[arg(long)]
        data: bool,
        /// All images.
        #[arg(long)]
        all: bool,
        /// The images, as they were run.
        images: Vec<String>,
    },
}

/// Commands on timelines.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Draw a timeline in the terminal, or as a page.
    Show {
        /// What `run --timeline` wrote.
        file: PathBuf,
        /// Write a self-contained HTML page.
        #[arg(long, value_name = "OUT")]
        html: Option<PathBuf>,
    },
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// An image whose registry is tried too.
    pub image: Option<String>,
}

/// The size of a span of an index.
fn span_bytes(text: &str) -> Result<u64, String> {
    let sizes = glowplug_image::soci::SPAN_BYTES;
    bytes(text).and_then(|size| {
        let allowed = || format!("a span has {}K to {}M", sizes.start() >> 10, sizes.end() >> 20);
        sizes.contains(&size).then_some(size).ok_or_else(allowed)
    })
}

/// The size of a piece of a file.
fn chunk_bytes(text: &str) -> Result<u64, String> {
    let sizes = glowplug_convert::CHUNK_BYTES;
    bytes(text).and_then(|size| {
        let allowed = || format!("a piece has {}K to {}M", sizes.start() >> 10, sizes.end() >> 20);
        sizes.contains(&size).then_some(size).ok_or_else(allowed)
    })
}

/// Bytes with an optional unit, powers of 1024 as in Docker: 512, 64k, 1.5G.
fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(['i', 'b']).trim_end_matches(['k', 'm', 'g', 't']);
    let unit = match lower[number.len()..].chars().next() {
        None | Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some(_) => return Err(format!("{text:?} is not a size such as 512M or 4G")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is not a size such as 512M or 4G"))?;
    let bytes = number * 1024_f64.powi(unit);
    if bytes.is_finite() && (0.0..9e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(format!("{text:?} is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn indexes_are_cut_as_the_reference_tool_cuts_them() {
        let cli = Cli::try_parse_from(["glowplug", "image", "index", "app"]).unwrap();
        let Command::Image(ImageCommand::Index(args)) = cli.command else { panic!("another command") };
        let grain = glowplug_image::soci::Grain::default();
        assert_eq!((args.min_layer_size, args.span_size), (grain.min_layer_bytes, grain.span_bytes));
        assert!(
            Cli::try_parse_from(["glowplug", "image", "index", "--format", "v2", "app"]).is_err(),
            "a copy needs a tag"
        );
        for size in ["0", "255K", "17M"] {
            let error =
                Cli::try_parse_from(["glowplug", "image", "index", "--span-size", size, "app"]).unwrap_err();
            assert!(error.to_string().contains("256K to 16M"), "{error}");
        }
    }

    #[test]
    fn layers_are_packed_as_the_reference_tools_pack_them() {
        let words = ["glowplug", "image", "convert", "--to", "estargz", "--output", "oci:there", "app"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Image(ImageCommand::Convert(args)) = cli.command else { panic!("another command") };
        assert_eq!(args.chunk_size, glowplug_convert::DEFAULT_CHUNK_BYTES);
        let error = Cli::try_parse_from(words.into_iter().chain(["--chunk-size", "33M"])).unwrap_err();
        assert!(error.to_string().contains("16K to 32M"), "{error}");
        assert!(Cli::try_parse_from(["glowplug", "image", "convert", "--to", "zstd", "app"]).is_err());
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        assert_eq!(
            ["512", "64k", "1.5G", "2GiB", "10mb"].map(|t| bytes(t).unwrap()),
            [512, 65_536, 1_610_612_736, 2_147_483_648, 10_485_760]
        );
        assert!(["", "x", "-1", "1Q"].iter().all(|text| bytes(text).is_err()));
    }
}
