//! From an image's configuration and the options of a run to what the container is given: Docker's rules in cases.

use super::*;
use proptest::prelude::*;

struct Case {
    _dir: tempfile::TempDir,
    options: RunOptions,
}

fn case() -> Case {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::new("test", dir.path().join("root"), dir.path());
    Case { _dir: dir, options }
}

fn accounts() -> Accounts {
    Accounts { passwd: Some(b"root:x:0:0::/root:\nsvc:x:50:51::/srv:\n".to_vec()), group: None }
}

fn image(config: Value) -> ImageConfiguration {
    let whole = json!({
        "architecture": "amd64", "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": [] },
    });
    serde_json::from_value(whole).unwrap()
}

fn args(config: Value, entrypoint: Option<&[&str]>, given: &[&str]) -> Result<Vec<String>, SpecError> {
    let mut case = case();
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    case.options.entrypoint = entrypoint.map(own);
    case.options.args = own(given);
    build(&image(config), &accounts(), &case.options)
        .map(|s| s.process().clone().unwrap().args().clone().unwrap())
}

#[test]
fn entrypoint_and_command_follow_docker() {
    let both = || json!({ "Entrypoint": ["e"], "Cmd": ["c", "d"] });
    assert_eq!(args(both(), None, &[]).unwrap(), ["e", "c", "d"]);
    assert_eq!(args(both(), None, &["x"]).unwrap(), ["e", "x"]);
    assert_eq!(args(both(), Some(&["f"]), &[]).unwrap(), ["f"]);
    assert_eq!(args(both(), Some(&["f"]), &["x"]).unwrap(), ["f", "x"]);
    assert_eq!(args(json!({ "Cmd": ["c"] }), None, &[]).unwrap(), ["c"]);
    assert!(matches!(args(json!({}), None, &[]), Err(SpecError::NoCommand)));
    assert!(matches!(args(both(), Some(&[]), &[]), Err(SpecError::NoCommand)));
}

#[test]
fn environment_is_layered() {
    let mut case = case();
    case.options.args = vec!["true".into()];
    case.options.hostname = Some("box".into());
    case.options.user = Some("svc".into());
    case.options.env = vec!["A=2".into(), "GONE".into(), "NEW=x=y".into()];
    let spec =
        build(&image(json!({ "Env": ["A=1", "GONE=1", "PATH=/p"] })), &accounts(), &case.options).unwrap();
    let process = spec.process().clone().unwrap();
    assert_eq!(process.env().clone().unwrap(), ["PATH=/p", "HOSTNAME=box", "A=2", "NEW=x=y", "HOME=/srv"]);
    assert_eq!((process.user().uid(), process.user().gid()), (50, 51));
}

#[test]
fn defaults_are_dockers() {
    let mut case = case();
    case.options.args = vec!["true".into()];
    let spec = build(&image(json!({ "WorkingDir": "app" })), &accounts(), &case.options).unwrap();
    let process = spec.process().clone().unwrap();
    assert_eq!(process.cwd(), Path::new("/app"));
    assert_eq!(process.capabilities().clone().unwrap().effective().clone().unwrap().len(), 14);
    assert_eq!(process.no_new_privileges(), Some(false));
    let linux = spec.linux().clone().unwrap();
    assert!(!linux.namespaces().clone().unwrap().iter().any(|n| n.typ().to_string() == "network"));
    let profile = seccomp_profile(linux.seccomp().as_ref().unwrap()).unwrap();
    assert_eq!(profile, seccomp::docker::profile(caps::DOCKER_DEFAULT), "survives the way there and back");
    assert!(std::fs::read_to_string(case.options.state_dir.join("hostname")).unwrap().ends_with('\n'));
}

#[test]
fn capabilities_add_and_drop() {
    let of = |add: &[&str], drop: &[&str]| {
        let mut case = case();
        case.options.cap_add = add.iter().map(|s| (*s).to_owned()).collect();
        case.options.cap_drop = drop.iter().map(|s| (*s).to_owned()).collect();
        capabilities(&case.options)
    };
    assert_eq!(
        of(&["SYS_PTRACE"], &["mknod"]).unwrap(),
        (caps::DOCKER_DEFAULT | Set::SYS_PTRACE) - Set::MKNOD
    );
    assert_eq!(of(&["CAP_NET_ADMIN"], &["ALL"]).unwrap(), Set::NET_ADMIN);
    assert_eq!(of(&["ALL"], &[]).unwrap().iter().count(), 41);
    assert!(matches!(of(&["FLY"], &[]), Err(SpecError::Capability(_))));
}

#[test]
fn limits_become_resources() {
    let mut case = case();
    case.options.args = vec!["true".into()];
    case.options.memory_bytes = Some(1 << 30);
    case.options.cpu_millis = Some(1500);
    case.options.pids = Some(64);
    case.options.ulimits = vec![Ulimit::parse("nofile=1024:-1").unwrap()];
    let spec = build(&image(json!({})), &accounts(), &case.options).unwrap();
    let resources = spec.linux().clone().unwrap().resources().clone().unwrap();
    assert_eq!(resources.memory().unwrap().limit(), Some(1 << 30));
    assert_eq!(resources.cpu().clone().unwrap().quota(), Some(150_000));
    assert_eq!(resources.pids().unwrap().limit(), 64);
    let rlimits = spec.process().clone().unwrap().rlimits().clone().unwrap();
    assert_eq!((rlimits[0].soft(), rlimits[0].hard()), (1024, u64::MAX));
    case.options.ulimits = vec![Ulimit::parse("nofiles=1").unwrap()];
    assert!(matches!(build(&image(json!({})), &accounts(), &case.options), Err(SpecError::Ulimit(_))));
}

#[test]
fn texts_of_options() {
    let mount = |t| BindMount::parse(t).map(|m| (m.host, m.container, m.readonly)).ok();
    assert_eq!(mount("/a:/b"), Some(("/a".into(), "/b".into(), false)));
    assert_eq!(mount("/a:/b:ro"), Some(("/a".into(), "/b".into(), true)));
    for wrong in ["/a", "/a:b", "/a:/b:rx", ":/b", "/a:/b:ro:ro", ""] {
        assert_eq!(mount(wrong), None, "{wrong}");
    }
    let port = |t| Port::parse(t).map(|p| (p.address.to_string(), p.host, p.container)).ok();
    assert_eq!(port("80"), Some(("0.0.0.0".into(), 80, 80)));
    assert_eq!(port("8080:80"), Some(("0.0.0.0".into(), 8080, 80)));
    assert_eq!(port("127.0.0.1:0:80"), Some(("127.0.0.1".into(), 0, 80)));
    assert_eq!(port("[::1]:8080:80"), Some(("::1".into(), 8080, 80)));
    for wrong in ["", "0", "80:", "x:80", "70000", "1.2.3:80:80"] {
        assert_eq!(port(wrong), None, "{wrong}");
    }
    assert!(Ulimit::parse("nofile=2:1").is_err());
    assert!(Ulimit::parse("nofile").is_err());
}

#[test]
fn stop_signals() {
    assert_eq!(stop_signal(&image(json!({ "StopSignal": "SIGINT" }))), 2);
    assert_eq!(stop_signal(&image(json!({ "StopSignal": "nonsense" }))), 15);
    assert_eq!(stop_signal(&image(json!({}))), 15);
}

proptest! {
    #[test]
    fn texts_never_panic(text in "\\PC{0,40}") {
        let _ = (BindMount::parse(&text), Port::parse(&text), Ulimit::parse(&text), is_valid_id(&text));
    }

    #[test]
    fn ids_are_one_file_name(text in "[a-z./]{0,6}") {
        if options::is_valid_id(&text) {
            let joined = Path::new("/x").join(&text);
            prop_assert_eq!(joined.parent(), Some(Path::new("/x")));
            prop_assert!(text != "..");
        }
    }
}
