//! Seccomp profiles between their two forms: this workspace's and the specification's.

use glowplug_linux::seccomp::{Action, Compare, Condition, Profile, Rule};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Oci, LinuxSeccompArg, LinuxSeccompOperator as Operator,
};
use serde_json::{Value, json};

/// The specification's form.
pub(super) fn to_spec(profile: &Profile) -> Value {
    let (default, default_errno) = action_to_spec(profile.default);
    let syscalls: Vec<Value> = profile
        .rules
        .iter()
        .map(|rule| {
            let (action, errno) = action_to_spec(rule.action);
            let args: Vec<Value> = rule.conditions.iter().map(condition_to_spec).collect();
            let mut syscall = json!({ "names": rule.syscalls, "action": action, "args": args });
            if let Some(errno) = errno {
                syscall["errnoRet"] = json!(errno);
            }
            syscall
        })
        .collect();
    let arch = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let mut seccomp = json!({ "defaultAction": default, "architectures": [arch], "syscalls": syscalls });
    if let Some(errno) = default_errno {
        seccomp["defaultErrnoRet"] = json!(errno);
    }
    seccomp
}

fn action_to_spec(action: Action) -> (&'static str, Option<u32>) {
    match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(n) => ("SCMP_ACT_ERRNO", Some(n)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    }
}

fn condition_to_spec(c: &Condition) -> Value {
    let op = match c.compare {
        Compare::Ne => "SCMP_CMP_NE",
        Compare::Lt => "SCMP_CMP_LT",
        Compare::Le => "SCMP_CMP_LE",
        Compare::Eq => "SCMP_CMP_EQ",
        Compare::Ge => "SCMP_CMP_GE",
        Compare::Gt => "SCMP_CMP_GT",
        // The mask comes first in the specification, and what it must leave second.
        Compare::Masked(mask) => {
            return json!({ "index": c.argument, "value": mask, "valueTwo": c.value, "op": "SCMP_CMP_MASKED_EQ" });
        }
    };
    json!({ "index": c.argument, "value": c.value, "op": op })
}

/// This workspace's form; an error says what is not supported.
pub(crate) fn profile(seccomp: &LinuxSeccomp) -> Result<Profile, String> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut rules = Vec::new();
    for syscall in seccomp.syscalls().iter().flatten() {
        let conditions = syscall.args().iter().flatten().map(condition).collect::<Result<_, _>>()?;
        let action = action(syscall.action(), syscall.errno_ret())?;
        rules.push(Rule { syscalls: syscall.names().clone(), action, conditions });
    }
    Ok(Profile { default, rules })
}

fn action(action: Oci, errno: Option<u32>) -> Result<Action, String> {
    /// What the specification says an error is if nothing else is said.
    const EPERM: u32 = 1;
    Ok(match action {
        Oci::ScmpActAllow => Action::Allow,
        Oci::ScmpActLog => Action::Log,
        Oci::ScmpActErrno => Action::Errno(errno.unwrap_or(EPERM)),
        Oci::ScmpActTrap => Action::Trap,
        Oci::ScmpActKill | Oci::ScmpActKillThread => Action::KillThread,
        Oci::ScmpActKillProcess => Action::KillProcess,
        other => return Err(format!("seccomp action {other} is not supported")),
    })
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition, String> {
    let argument =
        u8::try_from(arg.index()).map_err(|_| format!("no system call has an argument {}", arg.index()))?;
    let (compare, value) = match arg.op() {
        Operator::ScmpCmpNe => (Compare::Ne, arg.value()),
        Operator::ScmpCmpLt => (Compare::Lt, arg.value()),
        Operator::ScmpCmpLe => (Compare::Le, arg.value()),
        Operator::ScmpCmpEq => (Compare::Eq, arg.value()),
        Operator::ScmpCmpGe => (Compare::Ge, arg.value()),
        Operator::ScmpCmpGt => (Compare::Gt, arg.value()),
        Operator::ScmpCmpMaskedEq => (Compare::Masked(arg.value()), arg.value_two().unwrap_or(0)),
    };
    Ok(Condition { argument, compare, value })
}
