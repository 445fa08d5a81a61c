//! The default profile of Docker: an allow list, some of it conditional on arguments or on the container's capabilities.
//!
//! The list is that of Moby's `profiles/seccomp`, in its state since Docker 25, where io_uring is no longer on it. Everything else fails
//! with `EPERM`; `clone3` fails with `ENOSYS`, because its flags lie in memory where a filter cannot look, and C libraries then use
//! `clone`, whose flags it can see.

use super::{Action, Compare, Condition, Profile, Rule};
use crate::caps::Set;

/// `CLONE_NEW*` except `CLONE_NEWTIME`: what a container must not ask of `clone`.
const CLONE_NEW_ANY: u64 = 0x7e02_0000;
/// Address family of sockets between virtual machines and their host, which would reach past the container.
const AF_VSOCK: u64 = 40;
/// `personality(2)` values that change nothing dangerous: Linux, Linux32, both with no randomisation of nothing, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile for a container that keeps the capabilities `held`.
pub fn profile(held: Set) -> Profile {
    let mut rules = vec![allow(ALWAYS)];
    rules.push(conditional("socket", 0, Compare::Ne, AF_VSOCK));
    rules.extend(PERSONALITIES.map(|value| conditional("personality", 0, Compare::Eq, value)));
    if !held.contains(Set::SYS_ADMIN) {
        rules.push(conditional("clone", 0, Compare::Masked(CLONE_NEW_ANY), 0));
        let action = Action::Errno(libc::ENOSYS as u32);
        rules.push(Rule { syscalls: vec!["clone3".to_owned()], action, conditions: Vec::new() });
    }
    rules
        .extend(WITH_CAPABILITY.iter().filter(|(cap, _)| held.contains(*cap)).map(|(_, names)| allow(names)));
    Profile { default: Action::Errno(libc::EPERM as u32), rules }
}

fn allow(names: &[&str]) -> Rule {
    let syscalls = names.iter().map(|name| (*name).to_owned()).collect();
    Rule { syscalls, action: Action::Allow, conditions: Vec::new() }
}

fn conditional(name: &str, argument: u8, compare: Compare, value: u64) -> Rule {
    let conditions = vec![Condition { argument, compare, value }];
    Rule { syscalls: vec![name.to_owned()], action: Action::Allow, conditions }
}

#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "capget", "capset", "chdir",
    "chmod", "chown", "clock_adjtime", "clock_getres", "clock_gettime", "clock_nanosleep", "close",
    "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait",
    "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat",
    "faccessat2", "fadvise64", "fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2",
    "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr",
    "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futex", "futex_requeue", "futex_wait",
    "futex_waitv", "futex_wake", "futimesat", "getcpu", "getcwd", "getdents", "getdents64", "getegid",
    "geteuid", "getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "get_robust_list",
    "getrusage", "getsid", "getsockname", "getsockopt", "get_thread_area", "gettid", "gettimeofday",
    "getuid", "getxattr", "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1",
    "inotify_rm_watch", "io_cancel", "ioctl", "io_destroy", "io_getevents", "io_pgetevents", "ioprio_get",
    "ioprio_set", "io_setup", "io_submit", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "lchown", "lgetxattr", "link", "linkat", "listen", "listmount", "listxattr",
    "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "madvise",
    "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat",
    "mknod", "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mq_getsetattr", "mq_notify",
    "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "mremap", "mseal", "msgctl", "msgget",
    "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap", "name_to_handle_at", "nanosleep",
    "newfstatat", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "prctl", "pread64", "preadv", "preadv2",
    "prlimit64", "process_mrelease", "pselect6", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg", "remap_file_pages",
    "removexattr", "removexattrat", "rename", "renameat", "renameat2", "restart_syscall", "rmdir", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getscheduler", "sched_rr_get_interval",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp",
    "select", "semctl", "semget", "semop", "semtimedop", "sendfile", "sendmmsg", "sendmsg", "sendto",
    "setfsgid", "setfsuid", "setgid", "setgroups", "setitimer", "setpgid", "setpriority", "setregid",
    "setresgid", "setresuid", "setreuid", "setrlimit", "set_robust_list", "setsid", "setsockopt",
    "set_thread_area", "set_tid_address", "setuid", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt",
    "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "socketpair", "splice", "stat", "statfs",
    "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "sysinfo", "tee",
    "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
    "timerfd_create", "timerfd_gettime", "timerfd_settime", "times", "tkill", "truncate", "umask", "uname",
    "unlink", "unlinkat", "utime", "utimensat", "utimes", "vfork", "vmsplice", "wait4", "waitid", "write",
    "writev", "process_vm_readv", "process_vm_writev", "ptrace", "arch_prctl", "modify_ldt",
];

#[rustfmt::skip]
const WITH_CAPABILITY: &[(Set, &[&str])] = &[
    (Set::DAC_READ_SEARCH, &["open_by_handle_at"]),
    (Set::SYS_ADMIN, &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
        "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd",
        "setdomainname", "sethostname", "setns", "syslog", "umount2", "unshare",
    ]),
    (Set::SYS_BOOT, &["reboot"]),
    (Set::SYS_CHROOT, &["chroot"]),
    (Set::SYS_MODULE, &["delete_module", "init_module", "finit_module"]),
    (Set::SYS_PACCT, &["acct"]),
    (Set::SYS_PTRACE, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Set::SYS_RAWIO, &["iopl", "ioperm"]),
    (Set::SYS_TIME, &["settimeofday", "clock_settime"]),
    (Set::SYS_TTY_CONFIG, &["vhangup"]),
    (Set::SYS_NICE, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Set::SYSLOG, &["syslog"]),
    (Set::BPF, &["bpf"]),
    (Set::PERFMON, &["perf_event_open"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::DOCKER_DEFAULT;

    fn mentions(profile: &Profile, name: &str) -> Vec<Action> {
        profile.rules.iter().filter(|r| r.syscalls.iter().any(|s| s == name)).map(|r| r.action).collect()
    }

    #[test]
    fn capabilities_open_calls() {
        let plain = profile(DOCKER_DEFAULT);
        assert_eq!(mentions(&plain, "mount"), []);
        assert_eq!(mentions(&plain, "chroot"), [Action::Allow]);
        assert_eq!(mentions(&plain, "clone3"), [Action::Errno(38)]);
        let admin = profile(DOCKER_DEFAULT | Set::SYS_ADMIN);
        assert_eq!(mentions(&admin, "mount"), [Action::Allow]);
        assert_eq!(mentions(&admin, "clone3"), [Action::Allow]);
    }

    #[test]
    fn compiles_within_the_kernel_limit() {
        let compiled = profile(DOCKER_DEFAULT).compile().unwrap();
        assert!(compiled.instructions() < 4096, "{}", compiled.instructions());
    }

    #[test]
    fn names_without_a_number_here_are_those_of_other_machines() {
        let unknown: Vec<_> = ALWAYS.iter().filter(|name| crate::seccomp::number(name).is_none()).collect();
        if cfg!(target_arch = "x86_64") {
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }
}
