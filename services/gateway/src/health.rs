//! Probes. Alive: the process answers. Ready: commands can be accepted and streams served, which
//! takes NATS; PostgreSQL being away is reported, and stops neither.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::state::Gateway;

/// A probe has to be answered before whoever asks gives up, which is often after a second.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);

/// `GET /healthz`.
#[derive(Serialize)]
pub(crate) struct Alive {
    status: &'static str,
}

/// `GET /readyz`.
#[derive(Serialize)]
pub(crate) struct Ready {
    status: &'static str,
    /// What requests wait for, or are refused without.
    missing: Vec<&'static str>,
    nats: &'static str,
    postgres: &'static str,
    scheduler: &'static str,
    /// Messages of the log that could not be projected; absent while PostgreSQL is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    poisoned: Option<u64>,
}

/// The process lives.
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether requests can be served.
pub(crate) async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Ready>) {
    let connected = gateway.log.connected().is_ok();
    let count = tokio::time::timeout(CHECK_TIMEOUT, gateway.read_model.poison_count()).await;
    let poisoned = count.ok().and_then(Result::ok);
    let draining = gateway.shutdown.is_requested();
    let (code, status) = match (draining, connected) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let scheduled = gateway.line.scheduler().is_some();
    let dependencies = [
        ("nats", connected),
        ("postgres", poisoned.is_some()),
        ("scheduler", scheduled),
    ];
    let missing = dependencies.into_iter().filter(|(_, up)| !up);
    let word = |up| if up { "up" } else { "down" };
    (
        code,
        Json(Ready {
            status,
            missing: missing.map(|(name, _)| name).collect(),
            nats: word(connected),
            postgres: word(poisoned.is_some()),
            scheduler: word(scheduled),
            poisoned,
        }),
    )
}
