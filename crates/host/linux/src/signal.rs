//! Signal numbers by name, and back to their default disposition.

/// The first real-time signal a program may use: glibc keeps 32 and 33 to itself, and images name theirs from here.
const RTMIN: i32 = 34;
/// The last real-time signal.
const RTMAX: i32 = 64;

/// Parses `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `RTMAX-1`, in any case, to a signal number of this architecture.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(RTMIN, offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(RTMAX, offset);
    }
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
}

/// The name of a signal with the `SIG` prefix, if it has one.
pub fn name(number: i32) -> Option<String> {
    NAMES.iter().find(|(_, n)| *n == number).map(|(name, _)| format!("SIG{name}"))
}

fn real_time(base: i32, offset: &str) -> Option<i32> {
    let number = if offset.is_empty() { base } else { base.checked_add(offset.parse::<i32>().ok()?)? };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// Gives every signal its default disposition and unblocks all of them, as a new program expects to find them.
///
/// Rust ignores `SIGPIPE` at start; a container's program must not inherit that.
pub fn reset_all() {
    for number in 1..=RTMAX {
        // SAFETY: SIG_DFL installs no code of ours; KILL, STOP and the two of glibc answer EINVAL, which is fine.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given, and sigprocmask only reads it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_offsets() {
        assert_eq!(parse("SIGTERM"), Some(15));
        assert_eq!(parse("term"), Some(15));
        assert_eq!(parse("9"), Some(9));
        assert_eq!(parse("SIGRTMIN+3"), Some(37));
        assert_eq!(parse("RTMAX-1"), Some(63));
        assert_eq!(parse("RTMAX"), Some(64));
        assert_eq!(parse("0"), None);
        assert_eq!(parse("65"), None);
        assert_eq!(parse("RTMIN+99999999999"), None);
        assert_eq!(parse("RTMIN+2147483647"), None);
        assert_eq!(parse("SIGNOPE"), None);
        assert_eq!(name(15).as_deref(), Some("SIGTERM"));
    }
}
