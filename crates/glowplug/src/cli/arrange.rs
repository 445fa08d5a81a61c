//! Flags of `image convert` that change in which order files come, and in how many layers.

use clap::Args;

/// What goes where.
#[derive(Debug, Args)]
pub struct ArrangeArgs {
    /// Put the files that a start reads first in their layers, in the order of a start profile: a FILE that image optimize --save wrote,
    /// what this node has recorded of the image's own command, or else of another, or what was published for its own command beside
    /// it. estargz tells readers to fetch them first. Needs disk for all layers, unpacked.
    #[arg(long, value_name = "FILE|recorded|published")]
    pub order: Option<String>,
    /// Split layers that are longer than --layer-size, so that container engines unpack some while they download others. Every file
    /// stays as it is. Needs disk for all layers, unpacked.
    #[arg(long)]
    pub repack: bool,
    /// Longest layer that --repack leaves, uncompressed; a file that is longer has one to itself.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = super::bytes, requires = "repack")]
    pub layer_size: u64,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command, ImageCommand};

    #[test]
    fn layers_are_split_when_asked_for_and_at_the_length_of_the_engine() {
        let words = ["glowplug", "image", "convert", "--to", "zstd", "-o", "oci:out", "app"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Image(ImageCommand::Convert(args)) = cli.command else { panic!("another command") };
        assert_eq!((args.arrange.repack, &args.arrange.order), (false, &None));
        assert_eq!(args.arrange.layer_size, glowplug_convert::DEFAULT_LAYER_BYTES);
        assert!(Cli::try_parse_from(words.into_iter().chain(["--layer-size", "1G"])).is_err());
        assert!(Cli::try_parse_from(words.into_iter().chain(["--repack", "--layer-size", "1G"])).is_ok());
    }
}
