//! Everything encrypted: NATS, PostgreSQL and HTTP, with certificates of an authority of our own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rdev_embedded::{NatsOptions, NatsServer, Postgres, PostgresOptions};
use rdev_tests::Outcome;
use rdev_tests::world::{Options, World};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::options;

/// An authority, and a certificate of it for this machine.
struct Certificates {
    directory: TempDir,
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn new() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let own = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&own, &issuer)?;
        let write = |name: &str, text: String| -> Outcome<PathBuf> {
            let path = directory.path().join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            authority: write("ca.pem", authority.pem())?,
            certificate: write("server.pem", certificate.pem())?,
            key: write("server.key", own.serialize_pem())?,
            directory,
        })
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn nats(of: &Certificates) -> Outcome<NatsServer> {
    let mut nats = NatsOptions::new(of.directory.path().join("nats"));
    let (certificate, key) = (text(&of.certificate), text(&of.key));
    nats.extra_config = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n");
    Ok(NatsServer::start(nats).await?)
}

/// A server that takes encrypted connections too. Its key must be its own user's.
async fn postgres(of: &Certificates) -> Outcome<Postgres> {
    let directory = of.directory.path().join("postgres");
    let postgres = Postgres::start(PostgresOptions::new(&directory)).await?;
    let data = directory.join("data");
    for (from, name) in [(&of.certificate, "tls.pem"), (&of.key, "tls.key")] {
        let to = data.join(name);
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&data)?;
        chown(&to, Some(owner.uid()), Some(owner.gid()))?;
    }
    let (admin, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await?;
    tokio::spawn(connection);
    for statement in [
        "ALTER SYSTEM SET ssl_cert_file = 'tls.pem'",
        "ALTER SYSTEM SET ssl_key_file = 'tls.key'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.batch_execute(statement).await?;
    }
    Ok(postgres)
}

fn encrypted(of: &Certificates, nats: &NatsServer, postgres: &Postgres) -> Options {
    let authority = text(&of.authority);
    let database = format!(
        "{}?sslmode=verify-full&sslrootcert={authority}",
        postgres.url()
    );
    options()
        .variable("RDEV_NATS_URL", nats.url())
        .variable("RDEV_NATS_CA", &authority)
        .variable("RDEV_POSTGRES_URL", database)
}

/// A session, a command, its events to the end, and the list that PostgreSQL has: with a client of
/// others, which knows the authority.
const CLIENT: &str = r#"
import json, ssl, sys, urllib.request
base, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
def ask(path, body=None):
    data = body and json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    return urllib.request.urlopen(request, context=context, timeout=60)
session = json.load(ask("/projects/demo/sessions", {"pod": "box"}))["id"]
path = "/projects/demo/sessions/" + session
answer = ask(path + "/exec", {"type": "shell", "command": "echo hi", "stream_id": "one"})
token = answer.headers["Rdev-As-Of"]
print(ask(path + "/events?stream_id=one").read().decode())
print([item["id"] for item in json.load(ask(path + "/execs?as_of=" + token))["items"]])
"#;

async fn client(base: &str, authority: &Path) -> Outcome<(bool, String)> {
    let output = tokio::process::Command::new("python3")
        .args(["-c", CLIENT, base])
        .arg(authority)
        .stdin(Stdio::null())
        .output()
        .await?;
    let told = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&told).into_owned(),
    ))
}

#[tokio::test]
async fn nothing_goes_over_a_wire_in_the_clear() -> Outcome<()> {
    let of = Certificates::new()?;
    let (nats, postgres) = (nats(&of).await?, postgres(&of).await?);
    let mut world = World::bare(encrypted(&of, &nats, &postgres)).await?;
    let port = rdev_embedded::draw_port()?;
    let _projector = world.projector()?;
    let _executor = world.executor()?;
    let gateway = world.gateway_with(&[
        ("RDEV_LISTEN", format!("127.0.0.1:{port}")),
        ("RDEV_TLS_CERT", text(&of.certificate)),
        ("RDEV_TLS_KEY", text(&of.key)),
    ])?;
    gateway.until_it_says("serving").await?;
    let base = format!("https://localhost:{port}");
    let (is_fine, told) = client(&base, &of.authority).await?;
    assert!(
        is_fine && told.contains("\"line\":\"hi\""),
        "{told}{}",
        world.logs()
    );
    assert!(told.contains("['one']"), "{told}");

    // Whoever does not know the authority, or does not encrypt, gets nothing.
    let other = Certificates::new()?;
    let (is_fine, told) = client(&base, &other.authority).await?;
    assert!(
        !is_fine && told.contains("CERTIFICATE_VERIFY_FAILED"),
        "{told}"
    );
    let plain = reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await;
    assert!(plain.is_err(), "{plain:?}");

    let (admin, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await?;
    tokio::spawn(connection);
    let connections = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl \
        JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'rdev-%'";
    let counted = admin.query_one(connections, &[]).await?;
    let (encrypted, all): (i64, i64) = (counted.get(0), counted.get(1));
    assert!(encrypted > 0 && encrypted == all, "{encrypted} of {all}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_trusted_is_not_talked_to() -> Outcome<()> {
    let (of, other) = (Certificates::new()?, Certificates::new()?);
    let nats = nats(&of).await?;
    let options = options().variable("RDEV_NATS_URL", nats.url());
    let mut world = World::bare(options).await?;
    // Of another authority.
    let stranger = world.gateway_with(&[("RDEV_NATS_CA", text(&other.authority))])?;
    stranger.until_it_says("the log cannot be used yet").await?;
    // Settings that cannot be used end it, and are named.
    let certificate = text(&of.certificate);
    let nowhere = || "/nowhere/key.pem".to_owned();
    let nats_ca = ("RDEV_NATS_CA", text(&of.authority));
    let key_of_another = text(&other.key);
    for (variables, words) in [
        (vec![("RDEV_NATS_CA", nowhere())], "RDEV_NATS_CA"),
        (
            vec![("RDEV_NATS_CA", text(&of.key))],
            "no certificate in it",
        ),
        (
            vec![nats_ca.clone(), ("RDEV_TLS_CERT", certificate.clone())],
            "--tls-key",
        ),
        (
            vec![
                nats_ca.clone(),
                ("RDEV_TLS_CERT", certificate.clone()),
                ("RDEV_TLS_KEY", nowhere()),
            ],
            "RDEV_TLS_KEY /nowhere/key.pem",
        ),
        (
            vec![
                nats_ca.clone(),
                ("RDEV_TLS_CERT", certificate.clone()),
                ("RDEV_TLS_KEY", key_of_another),
            ],
            "RDEV_TLS_KEY",
        ),
    ] {
        let gateway = world.gateway_with(&variables)?;
        gateway.until_it_says(words).await?;
    }
    Ok(())
}

/// What a client is shown as the server's certificate.
async fn shown(port: u16) -> Outcome<String> {
    let ask = format!("import ssl; print(ssl.get_server_certificate(('127.0.0.1', {port})))");
    let output = tokio::process::Command::new("python3")
        .args(["-c", &ask])
        .stdin(Stdio::null())
        .output()
        .await?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_whoever_comes_next() -> Outcome<()> {
    let (of, renewed) = (Certificates::new()?, Certificates::new()?);
    let mut world = World::bare(options()).await?;
    let port = rdev_embedded::draw_port()?;
    let gateway = world.gateway_with(&[
        ("RDEV_LISTEN", format!("127.0.0.1:{port}")),
        ("RDEV_TLS_CERT", text(&of.certificate)),
        ("RDEV_TLS_KEY", text(&of.key)),
    ])?;
    gateway.until_it_says("serving").await?;
    let pem = |of: &Certificates| -> Outcome<String> {
        let text = fs::read_to_string(&of.certificate)?;
        Ok(text.replace('\r', "").trim().to_owned())
    };
    assert_eq!(shown(port).await?, pem(&of)?);
    for (from, to) in [
        (&renewed.key, &of.key),
        (&renewed.certificate, &of.certificate),
    ] {
        fs::rename(from, to)?;
    }
    assert_eq!(shown(port).await?, pem(&of)?);
    gateway
        .until_it_says("serving with the certificate that was put there")
        .await
}
