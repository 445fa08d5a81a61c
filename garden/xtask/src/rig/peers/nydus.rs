//! nydus-snapshotter and nydusd over FUSE with their shipped settings apart from the prefetch, and RAFS v6 images that name
//! the files of a start.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, Place, program, sockets};
use crate::images::layout::{Layout, Manifest};
use crate::step;

/// The peer.
pub struct Nydus {
    /// What it fetches before it is asked for it.
    pub prefetch: Prefetch,
}

/// What nydusd fetches before it is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefetch {
    /// As shipped: the files of a start, then everything.
    All,
    /// The files of a start.
    Opened,
    /// Nothing.
    Nothing,
}

impl Peer for Nydus {
    fn snapshotter(&self) -> &'static str {
        "nydus"
    }

    fn image(&self) -> &'static str {
        "nydus"
    }

    fn tools(&self) -> &'static [&'static str] {
        &["prepare", "nydusd"]
    }

    fn convert(&self, from: &Layout, opens: &Path, to: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(program("prepare", "convert-nydus"));
        command.arg("-builder").arg(program("nydusd", "nydus-image"));
        step::read(command.arg("-prefetch").arg(opens).arg(from.folder()).arg(to)).map(drop)
    }

    fn daemon(&self, place: &Place<'_>) -> anyhow::Result<Command> {
        let (settings, nydusd) = (place.settings.join("config.toml"), place.settings.join("nydusd.json"));
        std::fs::write(&nydusd, nydusd_settings(self.prefetch))?;
        std::fs::write(&settings, snapshotter_settings(place, &nydusd, &wrapped_nydusd(place.settings)?))?;
        let mut command = Command::new(program("nydus", "containerd-nydus-grpc"));
        command.arg("--config").arg(settings);
        Ok(command)
    }

    fn mounts(&self, _image: &Manifest) -> usize {
        // One for the image, not one for each layer.
        1
    }
}

/// It raises its limit of open files to a million and ends where it may not; with 0 it leaves the limit alone.
fn wrapped_nydusd(folder: &Path) -> anyhow::Result<PathBuf> {
    let place = folder.join("nydusd");
    let nydusd = program("nydusd", "nydusd");
    std::fs::write(&place, format!("#!/bin/sh\nexec '{}' \"$@\" --rlimit-nofile 0\n", nydusd.display()))?;
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o755))?;
    Ok(place)
}

/// As nydus-snapshotter ships them, apart from the registry's scheme and the prefetch.
fn nydusd_settings(prefetch: Prefetch) -> String {
    let (enable, all) = (prefetch != Prefetch::Nothing, prefetch == Prefetch::All);
    format!(
        r#"{{
  "device": {{
    "backend": {{
      "type": "registry",
      "config": {{ "scheme": "http", "timeout": 5, "connect_timeout": 5, "retry_limit": 2 }}
    }},
    "cache": {{ "type": "blobcache" }}
  }},
  "mode": "direct",
  "digest_validate": false,
  "iostats_files": false,
  "enable_xattr": true,
  "amplify_io": 1048576,
  "fs_prefetch": {{
    "enable": {enable}, "threads_count": 8, "merging_size": 1048576, "prefetch_all": {all}
  }}
}}
"#
    )
}

/// As shipped, apart from places, and without control groups and metrics of its own, which would outlive the rig.
fn snapshotter_settings(place: &Place<'_>, nydusd_settings: &Path, nydusd: &Path) -> String {
    format!(
        "version = 1\nroot = \"{}\"\naddress = \"{}\"\ndaemon_mode = \"dedicated\"\n\
         [system]\nenable = true\naddress = \"{}\"\n\
         [daemon]\nnydusd_config = \"{}\"\nnydusd_path = \"{}\"\nnydusimage_path = \"{}\"\n\
         fs_driver = \"fusedev\"\nrecover_policy = \"failover\"\nthreads_number = 4\n\
         failover_policy = \"resend\"\n[cgroup]\nenable = false\n\
         [log]\nlog_to_stdout = true\nlevel = \"info\"\n[metrics]\naddress = \"\"\n",
        place.store.display(),
        place.socket.display(),
        sockets().join("system").display(),
        nydusd_settings.display(),
        nydusd.display(),
        program("nydusd", "nydus-image").display(),
    )
}
