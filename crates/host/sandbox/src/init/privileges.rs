//! From all-powerful to what the container may do, and on to its program.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use glowplug_linux::caps::{self, Set};
use glowplug_linux::process;
use glowplug_linux::seccomp::Compiled;
use oci_spec::runtime::{Capabilities, LinuxSeccomp, PosixRlimit, PosixRlimitType as Limit, Process};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};

use crate::spec::seccomp_profile;
use crate::wire::Failure;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program ready to run: everything that may fail for the specification's sake has been done.
pub(super) struct Program<'a> {
    process: &'a Process,
    seccomp: Option<Compiled>,
    args: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
}

/// Enters the working directory, sets resource limits, compiles the filter. The process is in the container's root.
pub(super) fn prepare<'a>(
    process: &'a Process,
    seccomp: Option<&LinuxSeccomp>,
) -> Result<Program<'a>, Failure> {
    let seccomp = match seccomp {
        Some(profile) => {
            let profile = seccomp_profile(profile).map_err(|m| Failure::text("seccomp", m))?;
            Some(profile.compile().map_err(|e| Failure::new("seccomp", e))?)
        }
        None => None,
    };
    for limit in process.rlimits().iter().flatten() {
        set_limit(limit)?;
    }
    enter_directory(process.cwd())?;
    let strings = |list: &Option<Vec<String>>, what: &str| -> Result<Vec<CString>, Failure> {
        let converted = list.iter().flatten().map(|s| CString::new(s.as_str())).collect::<Result<_, _>>();
        converted.map_err(|_| Failure::text("process", format!("{what} contain a zero byte")))
    };
    let args = strings(process.args(), "arguments")?;
    let env = strings(process.env(), "environment variables")?;
    let candidates = candidates(process)?;
    Ok(Program { process, seccomp, args, env, candidates })
}

impl Program<'_> {
    /// User, groups, capabilities, filter. After this the process can do no more than the container's program will.
    pub fn give_up_privileges(&self) -> Result<(), Failure> {
        let no_new_privileges = self.process.no_new_privileges().unwrap_or(false);
        if no_new_privileges {
            rustix::thread::set_no_new_privs(true)
                .map_err(|e| Failure::io("privileges", "no new privileges", e))?;
        } else {
            // Installing a filter takes CAP_SYS_ADMIN now and would take no-new-privileges later. Every filter that lets a program run also
            // lets through the few calls from here to there.
            self.install_filter()?;
        }
        self.set_identity().map_err(|(what, e)| Failure::io("privileges", what, e))?;
        if no_new_privileges { self.install_filter() } else { Ok(()) }
    }

    fn install_filter(&self) -> Result<(), Failure> {
        self.seccomp.as_ref().map_or(Ok(()), |f| f.install().map_err(|e| Failure::new("seccomp", e)))
    }

    fn set_identity(&self) -> Result<(), (&'static str, Errno)> {
        let user = self.process.user();
        let sets = self.process.capabilities().as_ref();
        let set = |pick: Option<&Option<Capabilities>>| -> Set {
            let named = pick.and_then(Option::as_ref).into_iter().flatten();
            named.filter_map(|c| caps::parse(&c.to_string())).fold(Set::empty(), |all, one| all | one)
        };
        caps::limit_bounding(set(sets.map(|s| s.bounding()))).map_err(|e| ("bounding capabilities", e))?;
        caps::keep_across_setuid().map_err(|e| ("keeping capabilities", e))?;
        let groups: Vec<Gid> =
            user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).map_err(|e| ("additional groups", e))?;
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| ("group id", e))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| ("user id", e))?;
        let mask = user.umask().unwrap_or(0o022);
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        let (effective, permitted) = (set(sets.map(|s| s.effective())), set(sets.map(|s| s.permitted())));
        let (inheritable, ambient) = (set(sets.map(|s| s.inheritable())), set(sets.map(|s| s.ambient())));
        caps::apply(effective, permitted, inheritable, ambient).map_err(|e| ("capabilities", e))
    }

    /// Becomes the program. Exit codes are the shell's and Docker's: 127 if there is none, 126 if it cannot be run.
    pub fn exec(&self) -> Result<Infallible, Failure> {
        let mut worst = Errno::NOENT;
        for path in &self.candidates {
            match process::exec(path, &self.args, &self.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                // As a shell does: one that may not be run does not hide one further along.
                Errno::ACCESS => worst = Errno::ACCESS,
                other => {
                    worst = other;
                    break;
                }
            }
        }
        let name = self.args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
        let mut failure = Failure::io("exec", name, worst);
        failure.exit_code = if worst == Errno::NOENT { 127 } else { 126 };
        Err(failure)
    }
}

fn enter_directory(cwd: &Path) -> Result<(), Failure> {
    let failed = |e: Errno| Failure::io("working directory", cwd.display().to_string(), e);
    rustix::process::chdir(cwd).map_err(failed)?;
    // A path through /proc can lead to a directory that is open here but not in the container; the kernel then says so.
    let real = rustix::process::getcwd(Vec::new()).map_err(failed)?;
    if real.as_bytes().starts_with(b"/") { Ok(()) } else { Err(failed(Errno::NOENT)) }
}

/// The files that may be meant by the first argument, in order.
fn candidates(process: &Process) -> Result<Vec<CString>, Failure> {
    let name = process.args().iter().flatten().next();
    let name = name.filter(|n| !n.is_empty()).ok_or_else(|| Failure::text("process", "no program to run"))?;
    let paths: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let from_env = process.env().iter().flatten().rev().find_map(|pair| pair.strip_prefix("PATH="));
        from_env
            .unwrap_or(DEFAULT_PATH)
            .split(':')
            .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
            .collect()
    };
    let converted = paths.iter().map(|p| CString::new(p.as_os_str().as_bytes())).collect::<Result<_, _>>();
    converted.map_err(|_| Failure::text("process", "the program's name contains a zero byte"))
}

fn set_limit(limit: &PosixRlimit) -> Result<(), Failure> {
    let resource = match limit.typ() {
        Limit::RlimitCpu => Resource::Cpu,
        Limit::RlimitFsize => Resource::Fsize,
        Limit::RlimitData => Resource::Data,
        Limit::RlimitStack => Resource::Stack,
        Limit::RlimitCore => Resource::Core,
        Limit::RlimitRss => Resource::Rss,
        Limit::RlimitNproc => Resource::Nproc,
        Limit::RlimitNofile => Resource::Nofile,
        Limit::RlimitMemlock => Resource::Memlock,
        Limit::RlimitAs => Resource::As,
        Limit::RlimitLocks => Resource::Locks,
        Limit::RlimitSigpending => Resource::Sigpending,
        Limit::RlimitMsgqueue => Resource::Msgqueue,
        Limit::RlimitNice => Resource::Nice,
        Limit::RlimitRtprio => Resource::Rtprio,
        Limit::RlimitRttime => Resource::Rttime,
    };
    // The specification writes infinity as the largest number.
    let bound = |n: u64| (n != u64::MAX).then_some(n);
    let wanted = Rlimit { current: bound(limit.soft()), maximum: bound(limit.hard()) };
    match setrlimit(resource, wanted) {
        // Without CAP_SYS_RESOURCE a hard limit only goes down: as far up as it is, then.
        Err(Errno::PERM) => {
            let hard = getrlimit(resource).maximum;
            let lower = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(b.map_or(a, |b| a.min(b))));
            let reachable =
                Rlimit { current: lower(wanted.current, hard), maximum: lower(wanted.maximum, hard) };
            setrlimit(resource, reachable)
        }
        other => other,
    }
    .map_err(|e| Failure::io("limits", format!("{:?}", limit.typ()), e))
}
