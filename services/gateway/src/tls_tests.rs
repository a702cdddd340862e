//! A gateway's certificate is renewed while it runs, and the check that containers make of themselves asks it
//! whichever one it has.

use std::fs;
use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rdev_runtime::Shutdown;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

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

    /// Writes a file that tells by nothing but its content that it is another one.
    fn rewrite(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
    }

    fn certificate(&self) -> CertificateDer<'static> {
        let files = self.args.files().unwrap();
        files.chain().unwrap().swap_remove(0)
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

/// The certificate that the gateway shows.
async fn shown(address: SocketAddr) -> CertificateDer<'static> {
    let connector = own::connector().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = connector
        .connect(address.ip().into(), stream)
        .await
        .unwrap();
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_check_asks_over_tls() {
    let kept = Kept::new();
    let ready = serving(&kept.args, StatusCode::OK).await;
    ask(ready, &kept.args).await.unwrap();
    ask(ready, &TlsArgs::default()).await.unwrap_err();
    let waiting = serving(&kept.args, StatusCode::SERVICE_UNAVAILABLE).await;
    let refused = ask(waiting, &kept.args).await.unwrap_err();
    assert!(refused.to_string().contains("not ready"), "{refused}");
    // It goes on with the former certificate, and is no less ready.
    kept.put("tls.crt", "");
    ask(ready, &kept.args).await.unwrap();
    kept.put("tls.crt", &Kept::new().read("tls.crt"));
    ask(ready, &kept.args).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_served_at_the_next_connection() {
    let kept = Kept::new();
    let first = kept.certificate();
    let address = serving(&kept.args, StatusCode::OK).await;
    assert_eq!(shown(address).await, first);
    let renewed = Kept::new();
    kept.put("tls.key", &renewed.read("tls.key"));
    kept.put("tls.crt", &renewed.read("tls.crt"));
    assert_eq!(shown(address).await, renewed.certificate());
    // What cannot be used changes nothing.
    kept.put("tls.crt", "");
    assert_eq!(shown(address).await, renewed.certificate());
    // Another certificate without its key: the same, until the key is there.
    let third = Kept::new();
    kept.put("tls.crt", &third.read("tls.crt"));
    assert_eq!(shown(address).await, renewed.certificate());
    kept.put("tls.key", &third.read("tls.key"));
    assert_eq!(shown(address).await, third.certificate());
}

/// A file may become usable without being another one, as when it may be read at last.
#[tokio::test]
async fn files_that_failed_are_tried_again_after_a_while() {
    let kept = Kept::new();
    let first = kept.certificate();
    let address = serving(&kept.args, StatusCode::OK).await;
    let renewed = Kept::new();
    kept.put("tls.crt", &renewed.read("tls.crt"));
    kept.put("tls.key", "");
    assert_eq!(shown(address).await, first);
    kept.rewrite("tls.key", &renewed.read("tls.key"));
    assert_eq!(shown(address).await, first);
    tokio::time::pause();
    tokio::time::advance(RETRY_INTERVAL).await;
    tokio::time::resume();
    assert_eq!(shown(address).await, renewed.certificate());
}
