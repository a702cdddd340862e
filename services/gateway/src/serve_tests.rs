//! Clients that send slowly, on a clock that is moved.

use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::request::{BODY_TIMEOUT, RawBody};

/// A byte in so much time: faster than any limit on silence.
const DRIP: Duration = Duration::from_secs(5);

/// The client's end of a connection.
fn connect() -> DuplexStream {
    let (client, server) = duplex(1024);
    let router = Router::new().route("/", post(async |RawBody(body)| body));
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = builder()
        .serve_connection(TokioIo::new(server), service)
        .into_owned();
    tokio::spawn(connection);
    client
}

/// What the server says until it closes, and after how long.
async fn said(
    client: &mut DuplexStream,
    mut drip: impl FnMut() -> Option<u8>,
) -> (String, Duration) {
    let began = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(client);
    let dripping = async {
        while let Some(byte) = drip() {
            tokio::time::sleep(DRIP).await;
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    tokio::select! {
        read = reader.read_to_end(&mut said) => drop(read.unwrap()),
        () = dripping => {}
    }
    (String::from_utf8(said).unwrap(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut() {
    let mut client = connect();
    client.write_all(b"POST / HTTP/1.1\r\nx: ").await.unwrap();
    let (_, after) = said(&mut client, || Some(b'y')).await;
    assert!(after >= REQUEST_HEAD_TIMEOUT - DRIP, "{after:?}");
    assert!(after <= REQUEST_HEAD_TIMEOUT + DRIP, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_refused() {
    let mut client = connect();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (answer, after) = said(&mut client, || Some(b'y')).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    assert!(after >= BODY_TIMEOUT - DRIP, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_that_ends_in_time_is_taken() {
    let mut client = connect();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (answer, after) = said(&mut client, || Some(b'y')).await;
    assert!(answer.ends_with("yyyyyyyy"), "{answer}");
    assert!(after < BODY_TIMEOUT, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn heads_are_taken_up_to_a_size() {
    for (bytes, status) in [(1024, "200"), (2 * 1024 * 1024, "431")] {
        let mut client = connect();
        let fill = "x".repeat(bytes);
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {fill}\r\ncontent-length: 0\r\n\r\n"
        );
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let mut answer = Vec::new();
        // The server closes without reading all of what is too long.
        let (_, read) = tokio::join!(
            writer.write_all(head.as_bytes()),
            reader.read_to_end(&mut answer)
        );
        read.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_is_refused() {
    let mut client = connect();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-encoding: gzip\r\n\
                 content-length: 0\r\n\r\n";
    client.write_all(head).await.unwrap();
    let (answer, _) = said(&mut client, || None).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    assert!(answer.contains("unsupported_encoding"), "{answer}");
}
