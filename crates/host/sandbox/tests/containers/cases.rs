//! The cases.

use std::fs;
use std::future::Future;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use glowplug_sandbox::forward::Forwarder;
use glowplug_sandbox::ready::{self, Context, Probe, ReadyError};
use glowplug_sandbox::spec::{self, BindMount, Network, Port, Seccomp, Ulimit};
use glowplug_sandbox::{Container, CreateError, Helper, Runtime, StdStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{self, Rig, SELF};

type Case = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), || Box::pin($name()))),*] };
}

pub const ALL: &[(&str, Case)] = cases![
    runs_and_says_how_long_each_step_took,
    exit_codes_are_the_programs_or_the_signals,
    a_program_that_cannot_run_says_why,
    a_failed_step_names_itself_and_leaves_nothing,
    sees_itself_alone,
    what_docker_hides_is_hidden,
    device_nodes_made_inside_do_not_open,
    system_calls_are_filtered,
    a_user_has_its_ids_and_no_capabilities,
    root_has_fourteen_capabilities,
    a_read_only_root_is,
    bind_mounts_and_links_stay_inside,
    limits_hold,
    memory_beyond_the_limit_is_an_out_of_memory_exit,
    streams_are_pipes,
    signals_reach_the_program,
    dropping_the_handle_kills,
    a_killed_glowplug_leaves_nothing,
    the_binary_cannot_be_written_from_inside,
    other_programs_can_be_run_inside,
    probes_find_readiness_on_the_host_network,
    an_isolated_network_has_loopback_and_published_ports,
    an_early_end_is_not_readiness,
    what_an_ended_container_said_counts,
    gpu_descriptions_and_hooks_apply,
    an_external_runtime_is_driven,
    create_time,
];

const PATIENCE: Duration = Duration::from_secs(20);

async fn runs_and_says_how_long_each_step_took() {
    let rig = Rig::script("echo hello; echo $FROM_IMAGE $HOME; pwd");
    let (container, logs) = rig.start().await.unwrap();
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.signal), (0, None));
    logs.closed().await;
    assert_eq!(logs.tail(9), ["hello", "1 /root", "/"]);
    let names: Vec<&str> = container.steps().iter().map(|s| s.name.as_str()).collect();
    for step in ["spawn helper", "cgroup", "cgroup join", "namespaces", "mounts", "pivot", "exec"] {
        assert!(names.contains(&step), "{step} in {names:?}");
    }
    assert!(container.steps().iter().all(|s| s.start_ns <= s.end_ns));
    assert!(rig.cgroups().is_empty(), "{:?}", rig.cgroups());
    assert!(exit.usage.cpu_ns.is_some_and(|ns| ns > 0));
}

async fn exit_codes_are_the_programs_or_the_signals() {
    assert_eq!(Rig::script("exit 7").run().await.0.code, 7);
    let killed = Rig::script("sh -c 'kill -9 $$'; exit $?").run().await.0;
    assert_eq!((killed.code, killed.signal), (137, None));
    // Held to the end: the root file system goes with it.
    let rig = Rig::script("sleep 1000");
    let (container, logs) = rig.start().await.unwrap();
    container.kill(9).unwrap();
    let exit = container.wait().await;
    logs.closed().await;
    assert_eq!((exit.code, exit.signal), (137, Some(9)), "{:?}", logs.tail(5));
    container.kill(15).unwrap();
}

async fn a_program_that_cannot_run_says_why() {
    let code = async |args: &[&str]| -> (i32, String) {
        let rig = Rig::new(args);
        fs::write(rig.options.rootfs.join("plain"), "no program\n").unwrap();
        let error = rig.start().await.map(drop).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let (missing, text) = code(&["no-such-program"]).await;
    assert_eq!(missing, 127, "{text}");
    assert!(text.starts_with("exec: no-such-program"), "{text}");
    assert_eq!(code(&["/plain"]).await.0, 126);
    assert_eq!(code(&["/etc"]).await.0, 126);
}

async fn a_failed_step_names_itself_and_leaves_nothing() {
    let mut rig = Rig::script("true");
    rig.options.mounts.push(BindMount {
        host: "/no/such/place".into(),
        container: "/x".into(),
        readonly: false,
    });
    let Err(CreateError::Step { step, message, errno, exit_code }) = rig.create().await else {
        panic!("created")
    };
    assert_eq!((step.as_str(), errno, exit_code), ("mounts", Some(2), 125));
    assert!(message.contains("/no/such/place"), "{message}");
    gone(&rig).await;
}

/// Waits until the container's cgroups are gone; the helper removes them after it has told us what went wrong.
async fn gone(rig: &Rig) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !rig.cgroups().is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", rig.cgroups());
        tokio::task::yield_now().await;
    }
}

async fn sees_itself_alone() {
    let mut rig = Rig::script(
        "echo $$; hostname; cat /etc/hostname; ls /dev | tr '\\n' ' '; echo; ls -d /proc/[0-9]* | wc -l; \
         readlink /dev/ptmx; stat -f -c %T /dev/shm; echo x > /dev/null && head -c 4 /dev/zero | wc -c; cat /proc/self/cgroup",
    );
    rig.options.hostname = Some("inside".into());
    let (_, said) = rig.run().await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..3], ["1", "inside", "inside"], "{said}");
    let devices = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert_eq!(lines[3], devices);
    assert!(lines[4].parse::<u32>().unwrap() <= 3, "{said}");
    assert_eq!(&lines[5..8], ["pts/ptmx", "tmpfs", "4"], "{said}");
    assert!(lines[8..].iter().any(|l| l.ends_with(":/")), "the cgroup is the namespace's root: {said}");
    assert!(!said.contains("glowplug"), "{said}");
}

async fn what_docker_hides_is_hidden() {
    let rig = Rig::script(
        "wc -c < /proc/interrupts; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/panic; echo 1 > /sys/x; \
         find /sys/fs/cgroup -name cgroup.procs | head -1 | xargs -I{} sh -c 'echo 1 > {}'",
    );
    let (_, said) = rig.run().await;
    assert!(said.starts_with("0\n0\n"), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
}

async fn device_nodes_made_inside_do_not_open() {
    let rig = Rig::script(
        "mknod /zero c 1 5 && mknod /dev/zero2 c 1 5 && head -c 1 /dev/zero | wc -c; head -c 1 /zero; head -c 1 /dev/zero2",
    );
    let (_, said) = rig.run().await;
    assert!(said.starts_with('1'), "{said}");
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
}

async fn system_calls_are_filtered() {
    let script = "unshare -U true; grep Seccomp: /proc/self/status";
    let (_, said) = Rig::script(script).run().await;
    assert!(said.contains("Operation not permitted") && said.contains("Seccomp:\t2"), "{said}");
    let mut free = Rig::script(script);
    free.options.seccomp = Seccomp::Unconfined;
    let (_, said) = free.run().await;
    assert!(said.contains("Seccomp:\t0"), "{said}");
    let mut strict = Rig::script("grep NoNewPrivs /proc/self/status; unshare -U true");
    strict.options.no_new_privileges = true;
    let (_, said) = strict.run().await;
    assert!(said.contains("NoNewPrivs:\t1") && said.contains("Operation not permitted"), "{said}");
}

async fn a_user_has_its_ids_and_no_capabilities() {
    let mut rig = Rig::script("id -u; id -g; id -G; grep CapEff /proc/self/status; echo $HOME; umask");
    rig.options.user = Some("svc".into());
    let (_, said) = rig.run().await;
    assert_eq!(said, "1000\n1001\n1001 77\nCapEff:\t0000000000000000\n/srv\n0022");
}

async fn root_has_fourteen_capabilities() {
    let script = "grep -E 'Cap(Eff|Bnd|Inh|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '; grep NoNewPrivs /proc/self/status";
    let (_, said) = Rig::script(script).run().await;
    assert_eq!(said, "0000000000000000 00000000a80425fb 00000000a80425fb 0000000000000000 NoNewPrivs:\t0");
}

async fn a_read_only_root_is() {
    let mut rig = Rig::script("touch /x; touch /dev/shm/y && echo fine");
    rig.options.readonly = true;
    rig.options.workdir = Some("/made/here".into());
    let (exit, said) = rig.run().await;
    assert!(said.contains("Read-only file system") && said.ends_with("fine"), "{said}");
    assert_eq!(exit.code, 0);
    assert!(rig.options.rootfs.join("made/here").is_dir());
}

async fn bind_mounts_and_links_stay_inside() {
    let mut rig = Rig::script(
        "echo in > /data/deep/file; echo no > /ro/x; cat /linked/y; cat /etc/resolv.conf > /dev/null && echo resolved",
    );
    let host = rig.dir.path().join("host");
    fs::create_dir_all(host.join("outside")).unwrap();
    fs::write(host.join("y"), "why\n").unwrap();
    // An image may place links where mounts go: they mean the container's paths, not the host's.
    std::os::unix::fs::symlink(
        "../../../../../../run/resolver/conf",
        rig.options.rootfs.join("etc/resolv.conf"),
    )
    .unwrap();
    std::os::unix::fs::symlink("/elsewhere", rig.options.rootfs.join("linked")).unwrap();
    for (to, readonly) in [("/data/deep", false), ("/ro", true), ("/linked", true)] {
        rig.options.mounts.push(BindMount { host: host.clone(), container: to.into(), readonly });
    }
    let (_, said) = rig.run().await;
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "in\n");
    assert!(said.contains("Read-only file system") && said.contains("why\nresolved"), "{said}");
    assert!(
        rig.options.rootfs.join("run/resolver/conf").exists()
            && rig.options.rootfs.join("elsewhere").is_dir()
    );
    assert!(!Path::new("/elsewhere").exists() && !Path::new("/run/resolver").exists());
}

async fn limits_hold() {
    let mut rig = Rig::script(
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
         cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; ulimit -n; ulimit -Hn; \
         for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done",
    );
    rig.options.memory_bytes = Some(64 << 20);
    rig.options.cpu_millis = Some(1500);
    rig.options.pids = Some(8);
    // More than this process may have: without CAP_SYS_RESOURCE the hard limit stays where it is.
    rig.options.ulimits = vec![Ulimit::parse("nofile=512:1000000000").unwrap()];
    let (_, said) = rig.run().await;
    assert!(said.starts_with("67108864\n150000"), "{said}");
    assert!(said.contains("\n512\n"), "{said}");
    assert!(said.contains("Cannot fork") || said.contains("Resource temporarily unavailable"), "{said}");
}

async fn memory_beyond_the_limit_is_an_out_of_memory_exit() {
    let mut rig = Rig::new(&[SELF, "__eat", "256"]);
    rig.options.memory_bytes = Some(64 << 20);
    let (exit, said) = rig.run().await;
    assert_eq!(exit.code, 137, "{said}");
    assert!(exit.out_of_memory(), "{exit:?}");
    assert!(exit.usage.memory_peak_bytes.is_some_and(|b| (32 << 20..=64 << 20).contains(&b)), "{exit:?}");
}

async fn streams_are_pipes() {
    let rig = Rig::new(&["sh", "-c", "read line; echo out $line; echo err >&2; cat > /dev/null"]);
    let spec = spec::build(&rig::image(), &rig::accounts(), &rig.options).unwrap();
    let mut settings = rig.settings();
    settings.stdin = StdStream::Pipe;
    let mut container = Container::create(spec, settings).await.unwrap();
    container.start().await.unwrap();
    let mut stdin = container.take_stdin().unwrap();
    stdin.write_all(b"word\n").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    container.take_stdout().unwrap().read_to_string(&mut out).await.unwrap();
    container.take_stderr().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out word\n", "err\n"));
    assert_eq!(container.wait().await.code, 0);
}

async fn signals_reach_the_program() {
    let rig = Rig::script("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
    let (container, logs) = rig.start().await.unwrap();
    let context = Context::of(&container, Some(logs.clone()), &|| 0, PATIENCE);
    ready::wait(&Probe::parse("log:^up$").unwrap(), context).await.unwrap();
    container.kill(15).unwrap();
    assert_eq!(container.wait().await.code, 3);
    logs.closed().await;
    assert_eq!(logs.tail(1), ["bye"]);
}

async fn dropping_the_handle_kills() {
    let rig = Rig::script("sleep 1000 & sleep 1000");
    let (container, _logs) = rig.start().await.unwrap();
    let pidfd = glowplug_linux::pidfd::open(container.pid().unwrap()).unwrap();
    drop(container);
    ended(pidfd).await;
    gone(&rig).await;
    // Created and never started is no different.
    let rig = Rig::script("true");
    let container = rig.create().await.unwrap();
    let pidfd = glowplug_linux::pidfd::open(container.pid().unwrap()).unwrap();
    drop(container);
    ended(pidfd).await;
    gone(&rig).await;
}

async fn ended(pidfd: impl AsFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "still alive after 10 s");
}

async fn a_killed_glowplug_leaves_nothing() {
    let mut holder = Command::new("/proc/self/exe").arg("__hold").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (pid, id) = line.trim().split_once(' ').unwrap();
    let pidfd = glowplug_linux::pidfd::open(pid.parse().unwrap()).unwrap();
    let mut rig = Rig::script("");
    rig.options.id = id.to_owned();
    assert!(!rig.cgroups().is_empty());
    holder.kill().unwrap();
    holder.wait().unwrap();
    ended(pidfd).await;
    gone(&rig).await;
}

async fn the_binary_cannot_be_written_from_inside() {
    // The program of this container is whatever binary created it: its helper, on a read-only mount of its own.
    let port = free_port().to_string();
    let rig = Rig::new(&["/proc/self/exe", "__serve", &port]);
    let (container, logs) = rig.start().await.unwrap();
    let context = Context::of(&container, Some(logs), &|| 0, PATIENCE);
    ready::wait(&Probe::parse("log:listening").unwrap(), context).await.unwrap();
    // Truncating asks the mount before it asks whether the file is being executed.
    let attempt = "sh -c ': > /proc/1/exe' 2>&1 | grep -q 'Read-only file system'";
    assert_eq!(container.exec(&["sh".into(), "-c".into(), attempt.into()]).await.unwrap(), 0);
    container.remove().await;
}

async fn other_programs_can_be_run_inside() {
    let mut rig = Rig::script("sleep 1000");
    rig.options.user = Some("svc".into());
    let (container, _logs) = rig.start().await.unwrap();
    let sh = |text: &str| ["sh", "-c", text].map(str::to_owned).to_vec();
    assert_eq!(container.exec(&sh("exit 5")).await.unwrap(), 5);
    assert_eq!(
        container.exec(&sh("test $(id -u) = 1000 -a -d /proc/1 -a $(hostname) = $HOSTNAME")).await.unwrap(),
        0
    );
    assert_eq!(
        container.exec(&sh("grep -q 'CapEff:\t0000000000000000' /proc/self/status")).await.unwrap(),
        0
    );
    assert_eq!(container.exec(&sh("cat /proc/self/cgroup | grep -q ':/$'")).await.unwrap(), 0);
    let missing = container.exec(&["nothing".to_owned()]).await.unwrap_err();
    assert_eq!(missing.exit_code(), 127);
    container.remove().await;
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn probes_find_readiness_on_the_host_network() {
    let port = free_port();
    let rig = Rig::new(&[SELF, "__serve", &port.to_string()]);
    let (container, logs) = rig.start().await.unwrap();
    for (text, attempts) in [
        (format!("log:listening on {port}"), Some(1)),
        (format!("http://:{port}/healthz"), Some(3)),
        (format!("tcp:{port}"), None),
        (format!("v2:{port}/any"), None),
        ("exec:test -d /proc/1".to_owned(), None),
    ] {
        let context = Context::of(&container, Some(logs.clone()), &|| 0, PATIENCE);
        let readied = ready::wait(&Probe::parse(&text).unwrap(), context)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(attempts.is_none_or(|n| n == readied.attempts), "{text}: {readied:?}");
    }
    container.remove().await;
}

async fn an_isolated_network_has_loopback_and_published_ports() {
    let mut rig = Rig::new(&[SELF, "__serve", "80"]);
    rig.options.network = Network::Isolated;
    rig.options.user = Some("svc".into());
    let (container, logs) = rig.start().await.unwrap();
    let context = Context::of(&container, Some(logs), &|| 0, PATIENCE);
    ready::wait(&Probe::parse("http://:80/").unwrap(), context).await.unwrap();
    let port = Port::parse("127.0.0.1:0:80").unwrap();
    let forwarder = Forwarder::open(port, container.dialer().unwrap()).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(forwarder.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"), "{answer}");
    let address = forwarder.address();
    drop(forwarder);
    let closed = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
    container.remove().await;
}

async fn an_early_end_is_not_readiness() {
    let rig = Rig::script("echo no model; exit 3");
    let (container, logs) = rig.start().await.unwrap();
    let context = Context::of(&container, Some(logs), &|| 0, PATIENCE);
    let error = ready::wait(&Probe::Tcp(1), context).await.unwrap_err();
    assert_eq!(error.to_string(), "container exited with code 3 before it was ready");
    assert_eq!(error.lines(), ["no model"]);
    assert!(matches!(error, ReadyError::Exited { .. }));
}

async fn what_an_ended_container_said_counts() {
    for network in [Network::Host, Network::Isolated] {
        let mut rig = Rig::script("echo up; seq 1000");
        rig.options.network = network;
        let probe = Probe::parse("log:^up$").unwrap();
        let mut container = rig.create().await.unwrap();
        let logs = rig::follow(&mut container);
        probe.notice(&logs);
        container.start().await.unwrap();
        assert_eq!(container.wait().await.code, 0);
        logs.closed().await;
        // Its network is gone by now, and the line no longer among those kept.
        let context = Context::of(&container, Some(logs.clone()), &|| 0, PATIENCE);
        ready::wait(&probe, context).await.unwrap();
        let context = Context::of(&container, Some(logs), &|| 0, PATIENCE);
        let error = ready::wait(&Probe::Tcp(1), context).await.unwrap_err();
        assert!(matches!(error, ReadyError::Exited { .. }), "{error}");
    }
}

async fn gpu_descriptions_and_hooks_apply() {
    let mut rig = Rig::script("head -c 2 /dev/gpu0 | wc -c; echo $GPU; cat /from-hook");
    let dir = rig.dir.path().join("cdi");
    fs::create_dir(&dir).unwrap();
    // The hook sees the container's mounts below the root that config.json names, before the root is pivoted.
    let hook = rig.dir.path().join("hook");
    let root = rig.options.rootfs.display();
    fs::write(
        &hook,
        format!("#!/bin/sh\ncat > /dev/null\ntest -c {root}/dev/gpu0 && echo hooked > {root}/from-hook\n"),
    )
    .unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let description = serde_json::json!({
        "cdiVersion": "0.6.0", "kind": "example.com/gpu",
        "devices": [{ "name": "0", "containerEdits": {
            "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/zero" }], "env": ["GPU=0"],
            "hooks": [{ "hookName": "createContainer", "path": hook, "args": ["hook"] }],
        } }],
    });
    fs::write(dir.join("gpu.json"), description.to_string()).unwrap();
    rig.options.cdi_dirs = vec![dir];
    rig.options.devices = vec!["example.com/gpu=0".into()];
    let (_, said) = rig.run().await;
    assert_eq!(said, "2\n0\nhooked");
}

async fn an_external_runtime_is_driven() {
    // A stand-in that has runc's command line; a real one is used as well where the environment names it.
    let rig = Rig::script("echo ran; exit 4");
    let program = rig.dir.path().join("runtime");
    let script = "#!/bin/sh\nset -e\ncase $1 in\nrun) test -f $3/config.json; echo $$ > $5; echo run $6; sleep 0.05; exit 4;;\n*) echo \"$@\" >> ${0}.log;; esac\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (code, said) = run_with(&rig, program.clone()).await;
    assert_eq!((code, said), (4, format!("run {}", rig.options.id)));
    let log = fs::read_to_string(rig.dir.path().join("runtime.log")).unwrap();
    assert_eq!(log, format!("delete --force {}\n", rig.options.id));
    let missing = PathBuf::from("/no/such/runtime");
    let spec = spec::build(&rig::image(), &rig::accounts(), &rig.options).unwrap();
    let mut settings = rig.settings();
    settings.runtime = Runtime::External(missing);
    assert!(Container::create(spec, settings).await.unwrap().start().await.is_err());
    if let Some(real) = std::env::var_os("GLOWPLUG_TEST_RUNTIME") {
        let rig = Rig::script("echo ran; exit 4");
        assert_eq!(run_with(&rig, real.into()).await, (4, "ran".to_owned()));
    }
}

async fn run_with(rig: &Rig, program: PathBuf) -> (i32, String) {
    let spec = spec::build(&rig::image(), &rig::accounts(), &rig.options).unwrap();
    let mut settings = rig.settings();
    settings.runtime = Runtime::External(program);
    let mut container = Container::create(spec, settings).await.unwrap();
    let logs = rig::follow(&mut container);
    container.start().await.unwrap_or_else(|e| panic!("{e}: {:?}", logs.tail(20)));
    let exit = container.wait().await;
    logs.closed().await;
    (exit.code, logs.tail(usize::MAX).join("\n"))
}

/// Not a limit to hold, which a loaded machine could not; a figure to read.
async fn create_time() {
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    for round in 0..20 {
        let rig = Rig::new(&["/bin/true"]);
        let spec = spec::build(&rig::image(), &rig::accounts(), &rig.options).unwrap();
        let mut settings = rig.settings();
        let times = if round % 2 == 0 {
            &mut cold
        } else {
            settings.helper = Some(Helper::spawn(&rig.options.id).unwrap());
            // Its preparations are over when its first process is in the last of the cgroups.
            let joined = || {
                rig.cgroups()
                    .last()
                    .is_some_and(|c| fs::read(c.join("cgroup.procs")).is_ok_and(|p| !p.is_empty()))
            };
            while !joined() {
                tokio::task::yield_now().await;
            }
            &mut warm
        };
        let began = Instant::now();
        let mut container = Container::create(spec, settings).await.unwrap();
        container.start().await.unwrap();
        times.push(began.elapsed());
        container.wait().await;
        if round >= 18 {
            for step in container.steps() {
                println!("    {:>14} {:>6} .. {:>6} us", step.name, step.start_ns / 1000, step.end_ns / 1000);
            }
        }
    }
    cold.sort();
    warm.sort();
    println!("    create and start: {:?}, with a helper in advance: {:?} (medians of 10)", cold[5], warm[5]);
}
