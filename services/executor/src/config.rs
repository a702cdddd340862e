//! Settings of the executor.

use std::path::PathBuf;

use rdev_bus::BusConfig;
use rdev_runtime::health::HealthArgs;
use rdev_runtime::telemetry::TelemetryArgs;

use crate::keep::KeepSettings;
use crate::schedule::QueueSettings;

/// Runs commands in pods and writes what they print to the log.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "rdev-executor", version)]
pub struct Config {
    /// The log.
    #[command(flatten)]
    pub bus: BusConfig,
    /// Logging.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Probes.
    #[command(flatten)]
    pub health: HealthArgs,
    /// What runs commands.
    #[arg(
        long,
        env = "RDEV_BACKEND",
        value_name = "RDEV_BACKEND",
        value_enum,
        default_value = "kube"
    )]
    pub backend: BackendKind,
    /// Directory of the `local` backend's pods.
    #[arg(
        long,
        env = "RDEV_LOCAL_ROOT",
        value_name = "RDEV_LOCAL_ROOT",
        default_value = "/var/lib/rdev/pods"
    )]
    pub local_root: PathBuf,
    /// Directory of the `local` backend's secrets: `PROJECT/NAME/KEY` is a file with a value.
    #[arg(
        long,
        env = "RDEV_LOCAL_SECRETS",
        value_name = "RDEV_LOCAL_SECRETS",
        default_value = "/var/lib/rdev/secrets"
    )]
    pub local_secrets: PathBuf,
    /// Namespace of pods for which a session names none.
    #[arg(
        long,
        env = "RDEV_NAMESPACE",
        value_name = "RDEV_NAMESPACE",
        default_value = "default"
    )]
    pub namespace: String,
    /// How many execs run at once in this executor.
    #[arg(long, env = "RDEV_EXECUTOR_SLOTS", value_name = "RDEV_EXECUTOR_SLOTS", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub executor_slots: u32,
    /// Who waits for whom.
    #[command(flatten)]
    pub queue: QueueSettings,
    /// The lives of sessions.
    #[command(flatten)]
    pub keep: KeepSettings,
    /// Bytes of unread output that a command's journal may hold in its pod.
    #[arg(long, env = "RDEV_JOURNAL_MAX", value_name = "RDEV_JOURNAL_MAX", default_value_t = 256 * 1024 * 1024)]
    pub journal_max: u64,
    /// The shim program, to be put into containers that lack it.
    #[arg(
        long,
        env = "RDEV_SHIM_PATH",
        value_name = "RDEV_SHIM_PATH",
        default_value = "/usr/local/bin/rdev-shim"
    )]
    pub shim_path: PathBuf,
    /// Where the shim and its journals live in a container.
    #[arg(
        long,
        env = "RDEV_SHIM_DIR",
        value_name = "RDEV_SHIM_DIR",
        default_value = "/tmp/rdev-shim"
    )]
    pub shim_dir: String,
    /// The image of an init container that brings the shim into pods that are made from a template;
    /// uploaded if empty.
    #[arg(
        long,
        env = "RDEV_SHIM_IMAGE",
        value_name = "RDEV_SHIM_IMAGE",
        default_value = ""
    )]
    pub shim_image: String,
    /// A pod is touched only if this label has the project as its value; empty turns it off.
    #[arg(
        long,
        env = "RDEV_POD_LABEL",
        value_name = "RDEV_POD_LABEL",
        default_value = "rdev.dev/project"
    )]
    pub pod_label: String,
    /// The Claude CLI in the pods.
    #[arg(
        long,
        env = "RDEV_CLAUDE_BIN",
        value_name = "RDEV_CLAUDE_BIN",
        default_value = "claude"
    )]
    pub claude_bin: String,
    /// The Codex CLI in the pods.
    #[arg(
        long,
        env = "RDEV_CODEX_BIN",
        value_name = "RDEV_CODEX_BIN",
        default_value = "codex"
    )]
    pub codex_bin: String,
    /// When told to end, cancel the commands that run instead of handing them over to another
    /// executor: for where there is no other.
    #[arg(long)]
    pub cancel_on_shutdown: bool,
    /// Ask a running executor's /readyz and exit with 0 if it is ready.
    #[arg(long)]
    pub check_health: bool,
}

/// What runs commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// Pods of a Kubernetes cluster.
    Kube,
    /// Directories of this machine. Isolates nothing.
    Local,
}
