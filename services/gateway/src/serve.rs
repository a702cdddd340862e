//! The accept loop: one task for each connection, and an end that lets all of them finish.
//!
//! Invariant: after the end was asked for, no connection is accepted, streams say goodbye by
//! themselves, and whatever is left after [`DRAIN_GRACE`] is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rdev_runtime::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::Accept;
use tower::ServiceExt;

use crate::request::Peer;
use crate::tls::Tls;
use crate::watchdog::Watched;

/// How long requests in flight may take once the end was asked for; Kubernetes kills after 30 s.
const DRAIN_GRACE: Duration = Duration::from_secs(20);
/// A client has so long to send a request's head, the pause before it on an open connection
/// included. Longer than proxies keep theirs (60 s), so that it is they who close first.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Finds dead HTTP/2 connections, which have no request head to wait for.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// Without free file descriptors, accepting fails at once and again: not in a hot loop.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until the end is asked for, then drains.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    stall_timeout: Duration,
    shutdown: Shutdown,
) {
    let builder = builder();
    let connections = GracefulShutdown::new();
    let watched = |stream| Watched::new(stream, stall_timeout);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match stream.set_nodelay(true) {
                    Ok(()) => match &tls {
                        None => start(&builder, &connections, &router, watched(stream), peer),
                        Some(tls) => {
                            let handshake = tls.acceptor().accept(watched(stream));
                            start_encrypted(&builder, &connections, &router, handshake, peer);
                        }
                    },
                    Err(error) => tracing::debug!(%error, "the client is gone already"),
                },
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    tracing::info!(connections = connections.count(), "draining");
    if tokio::time::timeout(DRAIN_GRACE, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were cut, because they did not end in time");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING_INTERVAL);
    builder
}

fn start(
    builder: &Builder<TokioExecutor>,
    connections: &GracefulShutdown,
    router: &Router,
    stream: Watched<TcpStream>,
    peer: SocketAddr,
) {
    let io = TokioIo::new(stream);
    let service = service(router.clone(), peer);
    let connection = builder.serve_connection(io, service).into_owned();
    // Not an async block: that would hold the connection twice, and there are thousands.
    tokio::spawn(connections.watch(connection).map(move |ended| {
        if let Err(error) = ended {
            tracing::debug!(%peer, ?error, "connection broke off");
        }
    }));
}

/// The same behind a handshake, which a client may have as long for as for a request's head.
fn start_encrypted(
    builder: &Builder<TokioExecutor>,
    connections: &GracefulShutdown,
    router: &Router,
    handshake: Accept<Watched<TcpStream>>,
    peer: SocketAddr,
) {
    let service = service(router.clone(), peer);
    let (builder, watcher) = (builder.clone(), connections.watcher());
    tokio::spawn(async move {
        let stream = match tokio::time::timeout(REQUEST_HEAD_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS with this client"),
            Err(_) => return,
        };
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%peer, ?error, "connection broke off");
        }
    });
}

/// What answers the requests of one connection.
fn service(
    router: Router,
    peer: SocketAddr,
) -> impl Service<
    hyper::Request<Incoming>,
    Response = hyper::Response<Body>,
    Error = Infallible,
    Future: Send + 'static,
> + Send
+ 'static {
    hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    })
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
