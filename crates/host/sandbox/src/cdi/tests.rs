//! Devices from descriptions as vendors write them, in JSON and YAML, and which description holds.

use std::fs;

use proptest::prelude::*;

use super::yaml::YamlError;
use super::*;

/// Gives a container devices out of these files: directory, name and content.
fn from(files: &[(&str, &str, &str)], names: &[&str]) -> Result<Spec, CdiError> {
    let root = tempfile::tempdir().unwrap();
    let dirs = ["low", "high"].map(|name| root.path().join(name));
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    for (dir, name, content) in files {
        fs::write(root.path().join(dir).join(name), content).unwrap();
    }
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut spec: Spec = serde_json::from_value(json!({
        "ociVersion": "1.0.2", "linux": {},
        "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["A=1"] },
    }))
    .unwrap();
    apply(&names, &dirs, &mut spec).map(|()| spec)
}

fn given(files: &[(&str, Value)], names: &[&str]) -> Result<Spec, CdiError> {
    let texts: Vec<String> = files.iter().map(|(_, value)| value.to_string()).collect();
    let files: Vec<_> =
        files.iter().zip(&texts).map(|((name, _), text)| ("low", *name, text.as_str())).collect();
    from(&files, names)
}

fn env(spec: &Spec) -> Vec<String> {
    spec.process().clone().unwrap().env().clone().unwrap()
}

/// Where the mounts of a container are, in their order.
fn mounted(spec: &Spec) -> Vec<String> {
    spec.mounts().iter().flatten().map(|m| m.destination().display().to_string()).collect()
}

fn gpus() -> Value {
    json!({
        "cdiVersion": "0.6.0", "kind": "vendor.com/gpu",
        "devices": [
            { "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/null" }] } },
            { "name": "1", "containerEdits": { "deviceNodes": [{ "path": "/dev/full" }] } },
        ],
        "containerEdits": {
            "env": ["GPU=yes"],
            "mounts": [{ "hostPath": "/lib", "containerPath": "/usr/lib/gpu", "options": ["ro", "nosuid"] }],
            "hooks": [{ "hookName": "createContainer", "path": "/bin/true", "args": ["true", "x"] }],
            "additionalGids": [44],
        },
    })
}

#[test]
fn edits_are_applied_and_the_shared_ones_once() {
    let spec = given(&[("gpu.json", gpus())], &["vendor.com/gpu=0", "vendor.com/gpu=1"]).unwrap();
    let process = spec.process().clone().unwrap();
    assert_eq!(process.env().clone().unwrap(), ["A=1", "GPU=yes"]);
    assert_eq!(process.user().additional_gids().clone().unwrap(), [44]);
    let mounts = spec.mounts().clone().unwrap();
    assert_eq!(mounted(&spec), ["/usr/lib/gpu", "/dev/gpu0", "/dev/full"]);
    assert_eq!(mounts[1].source().as_deref(), Some(Path::new("/dev/null")));
    assert_eq!(spec.hooks().clone().unwrap().create_container().clone().unwrap().len(), 1);
    let devices = spec.linux().clone().unwrap().resources().clone().unwrap().devices().clone().unwrap();
    assert_eq!((devices[0].major(), devices[0].minor()), (Some(1), Some(3)));
}

#[test]
fn what_cannot_be_given_says_why() {
    let missing = given(&[], &["nvidia.com/gpu=0"]).unwrap_err();
    assert!(missing.hint().unwrap().to_string().contains("nvidia-ctk"));
    assert!(matches!(given(&[("gpu.json", gpus())], &["vendor.com/gpu=7"]), Err(CdiError::Unknown { .. })));
    for wrong in ["gpu=0", "vendor.com/gpu", "vendor.com/gpu=", "/gpu=0", "all"] {
        assert!(matches!(given(&[], &[wrong]), Err(CdiError::Name(_))), "{wrong}");
    }
    assert!(matches!(given(&[("bad.json", json!([]))], &["vendor.com/gpu=0"]), Err(CdiError::Parse { .. })));
    let mut other = gpus();
    other["containerEdits"]["hooks"][0]["hookName"] = json!("prestart");
    assert!(matches!(given(&[("gpu.json", other)], &["vendor.com/gpu=0"]), Err(CdiError::Hook { .. })));
}

/// What `nvidia-ctk cdi generate` writes for two GPUs, shortened.
const NVIDIA: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/dri/card1
      hostPath: /dev/null
    hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args:
      - nvidia-cdi-hook
      - create-symlinks
      - --link
      - ../card1::/dev/dri/by-path/pci-0000:01:00.0-card
      env:
      - NVIDIA_CTK_DEBUG=false
- name: "1"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
  - path: /dev/nvidiactl
    major: 195
    minor: 255
    fileMode: 438
    permissions: rw
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01
    options:
    - ro
    - nosuid
    - nodev
    - bind
"#;

#[test]
fn yaml_as_the_vendor_s_tool_writes_it() {
    let spec = from(&[("low", "nvidia.yaml", NVIDIA)], &["nvidia.com/gpu=0", "nvidia.com/gpu=1"]).unwrap();
    assert_eq!(env(&spec), ["A=1", "NVIDIA_VISIBLE_DEVICES=void"]);
    let library = "/usr/lib/x86_64-linux-gnu/libcuda.so.535.183.01";
    assert_eq!(mounted(&spec), ["/dev/nvidiactl", library, "/dev/nvidia0", "/dev/dri/card1", "/dev/nvidia1"]);
    let mounts = spec.mounts().clone().unwrap();
    assert_eq!(mounts[1].options().clone().unwrap(), ["ro", "nosuid", "nodev", "bind"]);
    assert_eq!(mounts[3].source().as_deref(), Some(Path::new("/dev/null")));
    let hooks = spec.hooks().clone().unwrap().create_container().clone().unwrap();
    let args: Vec<_> = hooks.iter().map(|hook| hook.args().clone().unwrap()[1].clone()).collect();
    assert_eq!(args, ["update-ldcache", "create-symlinks"]);
    assert_eq!(hooks[1].env().clone().unwrap(), ["NVIDIA_CTK_DEBUG=false"]);
    let all = from(&[("low", "nvidia.yml", NVIDIA)], &["nvidia.com/gpu=all"]).unwrap();
    assert_eq!(mounted(&all)[2..], ["/dev/nvidia0", "/dev/nvidia1"]);
}

/// A description of these devices, each of which sets a variable, as the file does.
fn describing(file: &str, devices: &[&str]) -> String {
    let devices: Vec<_> = devices
        .iter()
        .map(|name| json!({ "name": name, "containerEdits": { "env": [format!("{file}-{name}=1")] } }))
        .collect();
    json!({ "kind": "v.com/d", "devices": devices, "containerEdits": { "env": [format!("{file}=1")] } })
        .to_string()
}

#[test]
fn a_later_directory_wins_and_equals_are_refused() {
    let (a, b, c) = (describing("a", &["x", "y"]), describing("b", &["x", "z"]), describing("c", &["x"]));
    // Each file's shared edits once, before the first device of that file.
    let files = [("low", "a.json", a.as_str()), ("high", "c.json", c.as_str())];
    let spec = from(&files, &["v.com/d=y", "v.com/d=x"]).unwrap();
    assert_eq!(env(&spec), ["A=1", "a=1", "a-y=1", "c=1", "c-x=1"]);
    // JSON is YAML: the same rules whatever a file is written in.
    let equal = [("low", "a.json", a.as_str()), ("low", "b.yaml", b.as_str())];
    let error = from(&equal, &["v.com/d=x"]).unwrap_err();
    assert!(
        matches!(&error, CdiError::Conflict { name, first, second } if name == "v.com/d=x"
            && first.ends_with("low/a.json") && second.ends_with("low/b.yaml")),
        "{error}"
    );
    assert!(error.hint().is_some());
    let spec = from(&equal, &["v.com/d=y", "v.com/d=z"]).unwrap();
    assert_eq!(env(&spec), ["A=1", "a=1", "a-y=1", "b=1", "b-z=1"]);
    let settled = [equal[0], equal[1], ("high", "c.json", c.as_str())];
    assert_eq!(env(&from(&settled, &["v.com/d=x"]).unwrap()), ["A=1", "c=1", "c-x=1"]);
    let twice = describing("t", &["x", "x"]);
    assert!(matches!(from(&[("high", "t.json", &twice)], &["v.com/d=x"]), Err(CdiError::Conflict { .. })));
}

#[test]
fn a_broken_file_takes_nobody_s_device_away() {
    let good = describing("a", &["x"]);
    let files = [("low", "a.json", good.as_str()), ("low", "b.yaml", "kind: [")];
    assert_eq!(env(&from(&files, &["v.com/d=x"]).unwrap()), ["A=1", "a=1", "a-x=1"]);
    assert!(matches!(from(&files, &["v.com/d=other"]), Err(CdiError::Yaml { .. })));
    let large = " ".repeat(description::FILE_BYTES as usize + 1);
    assert!(matches!(from(&[("low", "l.json", &large)], &["v.com/d=x"]), Err(CdiError::Large { .. })));
}

fn parsed(text: &str) -> Result<Value, YamlError> {
    yaml::parse(text.as_bytes())
}

#[test]
fn yaml_becomes_what_it_means() {
    let text = "
a: &shared [1, -2, 18446744073709551615, 0]
b: *shared
c: {quoted: '1', text: 1.5, octal: 0644, hex: 0x10, yes: no}
d: !!str 7
e:
f: ~
g: |
  two
  lines
h: >-
  one
  line
true: \"a\\tb\" # a comment
";
    assert_eq!(
        parsed(text).unwrap(),
        json!({
            "a": [1, -2, u64::MAX, 0], "b": [1, -2, u64::MAX, 0],
            "c": { "quoted": "1", "text": "1.5", "octal": "0644", "hex": "0x10", "yes": "no" },
            "d": "7", "g": "two\nlines\n", "h": "one line", "true": "a\tb",
        })
    );
    assert_eq!(parsed("").unwrap(), Value::Null);
    let name = |text: &str| from(&[("low", "d.yaml", text)], &["v.com/d=0"]).map(|spec| env(&spec));
    assert_eq!(
        name("{kind: v.com/d, devices: [{name: 0, containerEdits: {env: [B=2]}}], containerEdits: }")
            .unwrap(),
        ["A=1", "B=2"]
    );
}

#[test]
fn yaml_that_is_not_taken_says_where() {
    let unsupported = |line, what| Err(YamlError::Unsupported { line, what });
    assert_eq!(parsed("a: 1\n---\nb: 2\n"), unsupported(2, "a second document"));
    assert_eq!(parsed("a: &x {}\nb:\n  <<: *x\n"), unsupported(3, "a merge key"));
    assert_eq!(parsed("a: !mine 1"), unsupported(1, "a tag of one's own"));
    assert_eq!(parsed("a: !mine [1]"), unsupported(1, "a tag of one's own"));
    assert_eq!(parsed("? [a]\n: 1\n"), unsupported(1, "a key that is not a scalar"));
    assert_eq!(parsed("a: &x [*x]"), unsupported(1, "an alias of what is around it"));
    assert_eq!(parsed("a: 1\na: 2"), Err(YamlError::Twice { line: 2, key: "a".into() }));
    assert!(matches!(parsed("a: 1\nb: *nobody"), Err(YamlError::Syntax { line: 2, .. })));
    assert!(matches!(parsed("a: [1"), Err(YamlError::Syntax { .. })));
    assert!(matches!(yaml::parse(b"a: \xff"), Err(YamlError::Utf8(_))));
}

#[test]
fn yaml_cannot_grow() {
    // Nine levels of nine aliases would be 400 million values.
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(matches!(parsed(&bomb), Err(YamlError::Limit { .. })));
    assert!(parsed(&"[".repeat(100_000)).is_err());
    assert!(matches!(parsed(&format!("[{}]", "1,".repeat(500_001))), Err(YamlError::Limit { .. })));
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parsed(&deep(32)).is_ok() && parsed(&deep(33)).is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_yaml(value in values()) {
        prop_assert_eq!(parsed(&value.to_string()).unwrap(), value);
    }

    #[test]
    fn no_text_makes_yaml_panic(text in "[-\\[\\]{}&*!:,?|>#%@'\"~a0 .\\n\\t]{0,60}", noise in "\\PC{0,60}") {
        let _ = (parsed(&text), parsed(&noise));
    }
}
