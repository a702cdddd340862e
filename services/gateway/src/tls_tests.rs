//! A gateway's certificate is renewed while it runs; asked by the check that containers make of
//! themselves, which believes the certificate in the files and no other.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rdev_runtime::Shutdown;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::serve::serve;
use crate::start::ask;

/// Far beyond what anything here takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings with files of their own.
struct Kept {
    directory: TempDir,
    args: TlsArgs,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let args = TlsArgs {
            tls_cert: Some(directory.path().join("tls.crt")),
            tls_key: Some(directory.path().join("tls.key")),
        };
        let kept = Self { directory, args };
        // Not for an address, and of no authority.
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["rdev.example".to_owned()]).unwrap();
        kept.put("tls.crt", &cert.pem());
        kept.put("tls.key", &signing_key.serialize_pem());
        kept
    }

    /// Puts a file in the place of the one that is there, as whoever renews certificates does.
    fn put(&self, name: &str, text: &str) {
        let partial = self.directory.path().join("partial");
        fs::write(&partial, text).unwrap();
        fs::rename(&partial, self.directory.path().join(name)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

/// A gateway that says this of whether it is ready.
async fn serving(args: &TlsArgs, status: StatusCode) -> SocketAddr {
    let tls = args.load().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/readyz", get(async move || status));
    tokio::spawn(serve(listener, tls, router, STALL_TIMEOUT, Shutdown::new()));
    address
}

#[tokio::test]
async fn a_check_asks_over_tls() {
    let kept = Kept::new();
    let ready = serving(&kept.args, StatusCode::OK).await;
    ask(ready, &kept.args).await.unwrap();
    // Another certificate, or none.
    ask(ready, &Kept::new().args).await.unwrap_err();
    ask(ready, &TlsArgs::default()).await.unwrap_err();
    let waiting = serving(&kept.args, StatusCode::SERVICE_UNAVAILABLE).await;
    let refused = ask(waiting, &kept.args).await.unwrap_err();
    assert!(refused.to_string().contains("not ready"), "{refused}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_at_the_next_connection() {
    let kept = Kept::new();
    let address = serving(&kept.args, StatusCode::OK).await;
    ask(address, &kept.args).await.unwrap();
    let renewed = Kept::new();
    ask(address, &renewed.args).await.unwrap_err();
    kept.put("tls.key", &renewed.read("tls.key"));
    kept.put("tls.crt", &renewed.read("tls.crt"));
    ask(address, &renewed.args).await.unwrap();
    // What cannot be used changes nothing.
    kept.put("tls.crt", "");
    ask(address, &renewed.args).await.unwrap();
    // Another certificate without its key: the same, until the key is there.
    let third = Kept::new();
    kept.put("tls.crt", &third.read("tls.crt"));
    ask(address, &renewed.args).await.unwrap();
    kept.put("tls.key", &third.read("tls.key"));
    ask(address, &third.args).await.unwrap();
}
