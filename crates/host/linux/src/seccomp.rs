//! System-call filters: profiles in the shape of the OCI runtime specification, compiled to BPF and installed.
//!
//! A compiled program has one action for what it matches and one for the rest, so a profile becomes several programs that the
//! kernel runs one after another; the strictest answer wins. System calls this build has no number for are left out: they
//! cannot be called on this architecture, or are new and get the default action. Foreign ABIs (32-bit programs on a 64-bit kernel)
//! are killed, where Docker lets them run.

use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

pub mod docker;
mod table;

pub use table::number;

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It runs.
    Allow,
    /// It runs and is logged.
    Log,
    /// It fails with this error number.
    Errno(u32),
    /// The thread gets `SIGSYS`.
    Trap,
    /// The thread dies.
    KillThread,
    /// The process dies.
    KillProcess,
}

impl Action {
    fn compiled(self) -> SeccompAction {
        match self {
            Self::Allow => SeccompAction::Allow,
            Self::Log => SeccompAction::Log,
            Self::Errno(e) => SeccompAction::Errno(e),
            Self::Trap => SeccompAction::Trap,
            Self::KillThread => SeccompAction::KillThread,
            Self::KillProcess => SeccompAction::KillProcess,
        }
    }
}

/// How an argument is compared, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Different from the value.
    Ne,
    /// Less than the value.
    Lt,
    /// At most the value.
    Le,
    /// The value.
    Eq,
    /// At least the value.
    Ge,
    /// More than the value.
    Gt,
    /// The value, once masked by this.
    Masked(u64),
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub compare: Compare,
    /// With what; all 64 bits count.
    pub value: u64,
}

/// An action for some system calls, if every condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names as in the kernel's tables.
    pub syscalls: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// All of these must hold; none means always.
    pub conditions: Vec<Condition>,
}

/// A whole filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What happens to calls that no rule matches.
    pub default: Action,
    /// Rules; a call gets the strictest action that a rule gives it, and `Allow` only if none gives a stricter one.
    pub rules: Vec<Rule>,
}

/// Programs ready to install, in order.
#[derive(Debug, Clone)]
pub struct Compiled(Vec<BpfProgram>);

/// A filter that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The compiler refused, for example an argument index above 5.
    #[error("cannot compile the seccomp profile")]
    Compile(#[source] seccompiler::BackendError),
    /// The kernel refused.
    #[error("cannot install the seccomp filter")]
    Install(#[source] Errno),
}

impl Profile {
    /// Compiles for the architecture this build is for.
    pub fn compile(&self) -> Result<Compiled, SeccompError> {
        let mut programs = Vec::new();
        let mut actions: Vec<Action> =
            self.rules.iter().map(|r| r.action).filter(|a| *a != self.default).collect();
        actions.sort_unstable();
        actions.dedup();
        if self.default != Action::Allow {
            // The first program tells what is mentioned at all from what gets the default.
            let mentioned = self.rules.iter().filter(|r| r.action != self.default);
            programs.push(program(mentioned, self.default, Action::Allow)?);
        }
        for action in actions.into_iter().filter(|a| *a != Action::Allow) {
            programs.push(program(self.rules.iter().filter(|r| r.action == action), Action::Allow, action)?);
        }
        Ok(Compiled(programs))
    }
}

fn program<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    otherwise: Action,
    matched: Action,
) -> Result<BpfProgram, SeccompError> {
    let mut chains: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut unconditional = Vec::new();
    for rule in rules {
        for number in rule.syscalls.iter().filter_map(|name| number(name)) {
            let chain = chains.entry(number).or_default();
            if rule.conditions.is_empty() {
                unconditional.push(number);
                continue;
            }
            let conditions: Result<Vec<_>, _> = rule.conditions.iter().map(condition).collect();
            let compiled = conditions.and_then(SeccompRule::new).map_err(SeccompError::Compile)?;
            chain.push(compiled);
        }
    }
    // An empty chain matches always, and must not stand beside conditions that would then be looked at first.
    for number in unconditional {
        chains.insert(number, Vec::new());
    }
    let arch = std::env::consts::ARCH.try_into().map_err(SeccompError::Compile)?;
    SeccompFilter::new(chains, otherwise.compiled(), matched.compiled(), arch)
        .and_then(TryInto::try_into)
        .map_err(SeccompError::Compile)
}

fn condition(c: &Condition) -> Result<SeccompCondition, seccompiler::BackendError> {
    let op = match c.compare {
        Compare::Ne => SeccompCmpOp::Ne,
        Compare::Lt => SeccompCmpOp::Lt,
        Compare::Le => SeccompCmpOp::Le,
        Compare::Eq => SeccompCmpOp::Eq,
        Compare::Ge => SeccompCmpOp::Ge,
        Compare::Gt => SeccompCmpOp::Gt,
        Compare::Masked(mask) => SeccompCmpOp::MaskedEq(mask),
    };
    SeccompCondition::new(c.argument, SeccompCmpArgLen::Qword, op, c.value)
}

impl Compiled {
    /// Installs the filters on the calling thread, for good and for all its children.
    ///
    /// Needs either `CAP_SYS_ADMIN` or no-new-privileges already set. Never sets the latter itself: Docker leaves it off, and `sudo`
    /// inside a container depends on that.
    pub fn install(&self) -> Result<(), SeccompError> {
        for program in &self.0 {
            let length = u16::try_from(program.len()).map_err(|_| SeccompError::Install(Errno::TOOBIG))?;
            let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
            // SAFETY: seccompiler's sock_filter has the kernel's layout; the kernel reads `len` of them and writes nothing.
            let r = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    0 as libc::c_uint,
                    &raw const header,
                )
            };
            if r != 0 {
                return Err(SeccompError::Install(crate::process::last_errno()));
            }
        }
        Ok(())
    }

    /// Total length in BPF instructions.
    pub fn instructions(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}
