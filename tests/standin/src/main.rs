//! `kube-standin`: the stand-in as a program, to be used by hand or by tests in other languages.
//!
//! `kube-standin [ADDRESS] [NAMESPACE/POD[:LABEL=VALUE]]…` prints where it listens and where its
//! kubeconfig is, then serves until SIGINT or SIGTERM.

use std::error::Error;

use rdev_kube_standin::{PodSpec, Standin};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that says where it listens")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (addresses, pods): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| !argument.contains('/'));
    let standin = match addresses.first() {
        Some(address) => Standin::start_on(address.parse()?).await?,
        None => Standin::start().await?,
    };
    for pod in &pods {
        standin.add_pod(parse_pod(pod)?)?;
    }
    let mut terminated = signal(SignalKind::terminate())?;
    println!("api: {}", standin.url());
    println!("kubeconfig: {}", standin.kubeconfig().display());
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    standin.shutdown().await;
    Ok(())
}

fn parse_pod(text: &str) -> Result<PodSpec, String> {
    let (place, label) = text
        .split_once(':')
        .map_or((text, None), |(place, label)| (place, Some(label)));
    let (namespace, name) = place
        .split_once('/')
        .ok_or_else(|| format!("{text}: write NAMESPACE/POD[:LABEL=VALUE]"))?;
    let pod = PodSpec::new(namespace, name);
    match label.map(|label| {
        label
            .split_once('=')
            .ok_or_else(|| format!("{label}: write LABEL=VALUE"))
    }) {
        None => Ok(pod),
        Some(label) => label.map(|(key, value)| pod.label(key, value)),
    }
}
