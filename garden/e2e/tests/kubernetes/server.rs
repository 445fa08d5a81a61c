//! etcd and kube-apiserver, with an authority of their own and everything that was asked written down.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use glowplug_e2e::free_port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::api::Api;

/// Whoever has it may do everything.
const ADMIN_TOKEN: &str = "an-administrator";

/// Who asked for slices, and how it ended; the answer to a watch counts when it begins.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    resources: [{group: discovery.k8s.io, resources: [endpointslices]}]
  - level: None
";

/// The server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    folder: tempfile::TempDir,
    etcd: Child,
    etcd_port: u16,
    server: Option<Child>,
    port: u16,
    ca_pem: String,
}

impl Server {
    /// Starts both; the second may not answer yet.
    ///
    /// # Panics
    /// They cannot be started.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca_pem = write_keys(folder.path());
        std::fs::write(folder.path().join("audit.yaml"), AUDIT_POLICY).unwrap();
        let admin = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
        std::fs::write(folder.path().join("tokens.csv"), admin).unwrap();
        let (etcd_port, peer_port) = (free_port(), free_port());
        let [client, peer] = [etcd_port, peer_port].map(|port| format!("http://127.0.0.1:{port}"));
        let etcd = start(
            folder.path(),
            "GLOWPLUG_ETCD",
            &[
                ("data-dir", &folder.path().join("etcd").display().to_string()),
                ("listen-client-urls", &client),
                ("advertise-client-urls", &client),
                ("listen-peer-urls", &peer),
                ("initial-advertise-peer-urls", &peer),
                ("initial-cluster", &format!("default={peer}")),
                ("unsafe-no-fsync", "true"),
            ],
        );
        let mut server = Self { folder, etcd, etcd_port, server: None, port: free_port(), ca_pem };
        server.restart();
        server
    }

    /// Starts the API server where none runs, at the same address.
    pub fn restart(&mut self) {
        let place = |name: &str| self.folder.path().join(name).display().to_string();
        let (key, audit) = (place("account.key"), place("audit.log"));
        self.server = Some(start(
            self.folder.path(),
            "GLOWPLUG_KUBE_APISERVER",
            &[
                ("etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_port)),
                ("bind-address", "127.0.0.1"),
                // Of documentation: nobody is told to come there.
                ("advertise-address", "192.0.2.1"),
                ("endpoint-reconciler-type", "none"),
                ("secure-port", &self.port.to_string()),
                ("service-cluster-ip-range", "10.96.0.0/16"),
                ("authorization-mode", "RBAC"),
                ("token-auth-file", &place("tokens.csv")),
                ("tls-cert-file", &place("server.pem")),
                ("tls-private-key-file", &place("server.key")),
                ("service-account-issuer", "https://kubernetes.default.svc"),
                ("service-account-key-file", &place("account.pub")),
                ("service-account-signing-key-file", &key),
                // Sizes are asked for in a way that etcd 3.4 does not know.
                ("feature-gates", "SizeBasedListCostEstimate=false"),
                ("audit-policy-file", &place("audit.yaml")),
                ("audit-log-path", &audit),
            ],
        ));
    }

    /// Ends the API server as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its authority, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// An administrator's client, once the server answers.
    pub async fn api(&self) -> Api {
        let api = Api::new(self.port, &self.ca_pem, ADMIN_TOKEN);
        api.ready().await;
        api
    }

    /// What was asked, a JSON document each line.
    pub fn audit_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
        if std::thread::panicking() {
            let log = self.folder.path().join("GLOWPLUG_KUBE_APISERVER.log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the API server's last words:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

/// Starts the program that a variable names; it writes to a file of the variable's name.
fn start(folder: &Path, variable: &str, flags: &[(&str, &str)]) -> Child {
    let program = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask kubernetes`"));
    let log = File::options().create(true).append(true).open(folder.join(variable).with_extension("log"));
    let log = log.unwrap();
    Command::new(PathBuf::from(program))
        .args(flags.iter().map(|(name, value)| format!("--{name}={value}")))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The server's certificate, and the key that service accounts' tokens are signed with; gives the authority.
fn write_keys(folder: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let account = KeyPair::generate().unwrap();
    for (name, text) in [
        ("server.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
        ("account.key", account.serialize_pem()),
        ("account.pub", account.public_key_pem()),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    authority.pem()
}
