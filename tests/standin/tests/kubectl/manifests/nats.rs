//! The configuration of NATS is one that the real server takes, with TLS and without.

use std::fs;
use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rdev_embedded::locate_nats_server;

use super::{Rendered, all, wiring::data_of};

/// What the Secret rdev-nats-accounts has, as far as this matters here.
const ACCOUNTS: &str =
    r#"accounts: {"rdev": {"jetstream": "enabled", "users": [{"user": "a", "password": "b"}]}}"#;

/// What `nats-server -t` says of it.
fn checked(rendered: &Rendered) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    for name in ["config", "access", "tls"] {
        fs::create_dir(root.join(name)).expect("a directory");
    }
    for key in ["nats.conf", "tls.conf", "cluster-tls.conf"] {
        let text = data_of(rendered, "nats-config", key);
        let here = text.replace("/etc/nats/", &format!("{}/", root.display()));
        fs::write(root.join("config").join(key), here).expect("a file");
    }
    fs::write(root.join("access/accounts.conf"), ACCOUNTS).expect("a file");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["nats".to_owned()]).expect("a certificate");
    let key = signing_key.serialize_pem();
    for (name, text) in [
        ("tls.crt", &cert.pem()),
        ("ca.crt", &cert.pem()),
        ("tls.key", &key),
    ] {
        fs::write(root.join("tls").join(name), text).expect("a file");
    }
    let output = Command::new(locate_nats_server().expect("a nats-server"))
        .args(["-t", "-c"])
        .arg(root.join("config/nats.conf"))
        .env("POD_NAME", "nats-0")
        .output()
        .expect("nats-server runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn the_server_takes_its_configuration() {
    for name in ["overlays/managed", "overlays/self-contained"] {
        let rendered = all()
            .iter()
            .find(|one| one.name == name)
            .expect("an overlay");
        let said = checked(rendered);
        assert!(said.contains("is valid"), "{name}: {said}");
        let is_encrypted = !data_of(rendered, "nats-config", "tls.conf").starts_with('#');
        assert_eq!(is_encrypted, name.ends_with("self-contained"), "{name}");
    }
}
