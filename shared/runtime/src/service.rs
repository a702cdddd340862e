//! The shape of a service's `main`: settings are parsed by then; this starts the async runtime,
//! logging and signal handling, and turns the outcome into an exit code.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use crate::metrics;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, TelemetryArgs};

/// Runs a service until it ends or is told to.
pub fn run<F, E>(
    name: &'static str,
    telemetry: &TelemetryArgs,
    service: impl FnOnce(Shutdown) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    run_boxed(
        name,
        telemetry,
        Box::new(|shutdown| {
            let service = service(shutdown);
            Box::pin(async { service.await.map_err(|error| error.to_string()) })
        }),
    )
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// Compiled once, whatever runs.
fn run_boxed<'a>(
    name: &'static str,
    telemetry: &TelemetryArgs,
    service: Box<dyn FnOnce(Shutdown) -> Outcome<'a> + 'a>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(name, &error),
    };
    // As `rdev gateway` it is the same service as `rdev-gateway`.
    let known_as: &'static str = name.replace(' ', "-").leak();
    metrics::of_process(known_as);
    let code = runtime.block_on(async move {
        if let Err(error) = telemetry::init(known_as, telemetry) {
            return refuse(name, &error);
        }
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(error) => return refuse(name, &error),
        };
        match service(shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(name, &error),
        }
    });
    // Its sender needs the runtime, and must not be waited for by a thread of it.
    telemetry::end();
    code
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a process that cannot go on"
)]
fn refuse(name: &str, error: &dyn Display) -> ExitCode {
    eprintln!("{name}: {error}");
    ExitCode::FAILURE
}
