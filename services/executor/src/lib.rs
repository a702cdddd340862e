//! The executor: takes commands from the log, runs them in pods, writes what they print.
//!
//! The stations are the files: [`schedule`] (a command's turn; by one executor for all), [`intake`]
//! (an offered command and a free slot), [`drive`] (what is
//! to be done with it), [`claim`] (the log says whose it is), [`pump`] (frames to events to the
//! log), [`finish`] (its end), beside [`lease`] (it is still ours), [`orders`] (what else is wanted of it), [`unanswered`] (what nobody answers its agent), [`said`]
//! (what an agent said before a take-over) and [`pod`] (the way
//! into pods). [`keep`] makes and removes the pods of sessions, by one executor for all.
//!
//! Invariant: every state that matters is in the log or in the pod. An executor can be killed at
//! any moment.

mod attempt;
pub mod claim;
pub mod config;
pub mod context;
pub mod drive;
mod feed;
pub mod finish;
pub mod intake;
pub mod keep;
pub mod lease;
mod metrics;
pub mod orders;
pub mod pod;
pub mod pump;
pub mod said;
pub mod schedule;
mod secrets;
mod surroundings;
mod traces;
pub mod unanswered;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion as boxed;
use rdev_bus::topology::TopologyError;
use rdev_bus::{Bus, ConnectError};
use rdev_runtime::Shutdown;
use rdev_runtime::health::{self, Readiness};
use rdev_shim::Program;

use crate::config::{BackendKind, Config};
use crate::context::Context;
use crate::keep::Keep;
use crate::metrics::METRICS;
use crate::pod::Backend;
use crate::pod::channel::Channels;
use crate::pod::local::LocalBackend;
use crate::pod::rights::Review;
use crate::schedule::Scheduler;

/// Between two tries to reach the log at the start.
const START_RETRY_DELAY: Duration = Duration::from_secs(1);

/// What whoever asks a program for a cluster is told when it was built without the feature `kube`.
pub const WITHOUT_KUBERNETES: &str = "this program was built without Kubernetes: take the one of \
    rdev's images, or build it with --features kube";

/// The whole program: a probe of a running executor, or the executor. `shim` is how this program
/// is executed again as the shim.
#[must_use]
pub fn main(config: Config, shim: Program) -> ExitCode {
    let telemetry = config.telemetry.clone();
    rdev_runtime::service::run("rdev-executor", &telemetry, |shutdown| async move {
        if config.check_health {
            return health::check_self(config.health.health_listen)
                .await
                .map_err(ExecutorError::Health);
        }
        run(config, shim, shutdown).await
    })
}

/// Why the executor cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The log cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The log is not as it should be.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The backend cannot be used.
    #[error("{0}")]
    Backend(String),
    /// Probes cannot be answered.
    #[error("RDEV_HEALTH_LISTEN: {0}")]
    Health(std::io::Error),
}

/// Runs until shutdown; then hands over what it works on. `shim` is how this program is executed
/// again as the shim.
///
/// # Errors
/// See [`ExecutorError`]: settings or surroundings that no retry can heal.
#[boxed]
pub async fn run(config: Config, shim: Program, shutdown: Shutdown) -> Result<(), ExecutorError> {
    let readiness = surroundings::declare(config.backend);
    let probes = health::serve_at(config.health.health_listen, readiness.clone());
    let work = work(config, shim, readiness, shutdown);
    tokio::select! {
        result = probes => result.map_err(ExecutorError::Health),
        result = work => result,
    }
}

async fn work(
    config: Config,
    shim: Program,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<(), ExecutorError> {
    let backend = backend(&config, shim).await?;
    for (name, template) in config.keep.templates.iter() {
        let wrong = |reason| format!("RDEV_TEMPLATES: template {name}: {reason}");
        let checked = backend.check(template);
        checked.map_err(|reason| ExecutorError::Backend(wrong(reason)))?;
    }
    let name = executor_name();
    let Some(bus) = connect(&config, &name, &readiness, &shutdown).await? else {
        return Ok(());
    };
    let queue = loop {
        match bus.commands().await {
            Ok(queue) => break queue,
            Err(error) => tracing::warn!(%error, "the work queue cannot be reached"),
        }
        tokio::time::sleep(START_RETRY_DELAY).await;
    };
    readiness.set(true);
    METRICS.slots.set(i64::from(config.executor_slots));
    tracing::info!(
        executor = name,
        slots = config.executor_slots,
        "executor is ready"
    );
    let slots = config.executor_slots;
    let keep = Arc::new(Keep {
        bus: bus.clone(),
        backend: Arc::clone(&backend),
        settings: config.keep.clone(),
        name: name.clone(),
    });
    let channels = Channels::new(backend);
    let context = Arc::new(Context {
        bus: bus.clone(),
        channels,
        config,
        name,
        shutdown: shutdown.clone(),
    });
    let scheduler = Scheduler {
        bus: bus.clone(),
        name: context.name.clone(),
        limits: context.config.queue.limits(),
        slots,
        keep,
    };
    let looking = surroundings::look(&bus, context.channels.backend(), &readiness);
    let working = async {
        tokio::join!(
            Box::pin(scheduler.run(&shutdown)),
            intake::run(Arc::clone(&context), queue, slots, shutdown.clone()),
        )
    };
    tokio::select! {
        ((), ()) = working => {}
        () = looking => {}
    }
    bus.flush().await;
    Ok(())
}

/// Waits for the log to be there; none when the process is to end before that.
async fn connect(
    config: &Config,
    name: &str,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<Option<Bus>, ExecutorError> {
    loop {
        match Bus::connect(config.bus.clone(), name).await {
            Ok(bus) => match bus.ensure_topology().await {
                Ok(()) => return Ok(Some(bus)),
                Err(error @ TopologyError::Failed { .. }) => {
                    readiness.tell(surroundings::NATS, Err(error.to_string()));
                    tracing::warn!(%error, "waiting for the log");
                }
                Err(error @ TopologyError::Drift { .. }) => return Err(error.into()),
            },
            Err(error) if error.is_retryable() => {
                readiness.tell(surroundings::NATS, Err(error.to_string()));
                tracing::warn!(%error, "waiting for the log");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(START_RETRY_DELAY) => {}
            () = shutdown.requested() => return Ok(None),
        }
    }
}

async fn backend(config: &Config, shim: Program) -> Result<Arc<dyn Backend>, ExecutorError> {
    match config.backend {
        BackendKind::Local => {
            tracing::warn!(
                root = %config.local_root.display(),
                "the local backend isolates nothing: commands run as this user on this machine"
            );
            let root = std::path::absolute(&config.local_root)
                .map_err(|error| ExecutorError::Backend(format!("RDEV_LOCAL_ROOT: {error}")))?;
            let local = LocalBackend::new(root, config.local_secrets.clone(), shim);
            Ok(Arc::new(local))
        }
        #[cfg(feature = "kube")]
        BackendKind::Kube => {
            let kube = pod::kube::KubeBackend::from_config(config)
                .await
                .map_err(|error| ExecutorError::Backend(error.to_string()))?;
            Ok(Arc::new(kube))
        }
        #[cfg(not(feature = "kube"))]
        BackendKind::Kube => {
            let reason = format!("RDEV_BACKEND=kube: {}", WITHOUT_KUBERNETES);
            Err(ExecutorError::Backend(reason))
        }
    }
}

/// Asks what an executor may do in a namespace; `with_templates` also whether it may make and remove
/// pods. None when this program was [built without Kubernetes](WITHOUT_KUBERNETES).
///
/// # Errors
/// Says why the cluster cannot be asked.
#[cfg_attr(not(feature = "kube"), expect(unused_variables, clippy::unused_async))]
pub async fn review(
    kubeconfig: Option<&Path>,
    namespace: &str,
    with_templates: bool,
) -> Result<Option<Review>, String> {
    #[cfg(not(feature = "kube"))]
    return Ok(None);
    #[cfg(feature = "kube")]
    pod::kube::rights::review(kubeconfig, namespace, with_templates)
        .await
        .map(Some)
}

/// Unique among the executors of a cluster, and readable.
fn executor_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
