//! The way into a pod: ended, cut, frozen, refused. Only frames decide about the command.

use std::time::Duration;

use rdev_contract::event::Kind;
use rdev_kube_standin::Ending;
use rdev_tests::Outcome;
use rdev_tests::cluster::{Cluster, NAMESPACE};
use rdev_tests::count::Count;
use rdev_tests::log::until_kind;
use tokio::time::{Instant, sleep};

use super::options;
use super::trial::{Trial, continued};

const PAUSE: Duration = Duration::from_millis(100);
const POD: &str = "web";
/// Reconnecting begins at once; then the delays double, up to two seconds.
const RECONNECTED_MAX: Duration = Duration::from_secs(5);

async fn begin(cluster: &Cluster, name: &str) -> Outcome<Trial> {
    let client = cluster.client();
    let session = client.session(POD).await?;
    let count = Count::to(name, 300).pausing(PAUSE);
    let trial = Trial::begin(client, &session, count).await?;
    trial.reader.until_count(60).await?;
    Ok(trial)
}

async fn end(cluster: &Cluster, trial: Trial, what: &str, since: Instant) -> Outcome<()> {
    let bus = cluster.world.bus().await?;
    let (seen, _) = trial.end(&bus, &cluster.pod(POD), 1).await?;
    continued(what, &seen, since, RECONNECTED_MAX);
    Ok(())
}

#[tokio::test]
async fn no_ending_of_the_connection_is_taken_for_the_end() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[POD]).await?;
    for (name, ending) in [
        ("status", Ending::Status(0)),
        ("unfinished", Ending::SuccessUnfinished),
        ("closed", Ending::CloseWithoutStatus),
        ("cut", Ending::Cut),
    ] {
        let trial = begin(&cluster, name).await?;
        let since = Instant::now();
        assert_eq!(cluster.standin.end_exec(NAMESPACE, POD, ending), 1);
        end(&cluster, trial, name, since).await?;
    }
    cluster.shutdown().await;
    Ok(())
}

/// The launch is lost with the connection that it was sent on: it is sent again, on another one.
#[tokio::test]
async fn a_connection_cut_between_claim_and_launch_is_made_again() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[POD]).await?;
    let (client, bus) = (cluster.client(), cluster.world.bus().await?);
    let session = client.session(POD).await?;
    client.shell(&session, "true").await?.check()?;
    cluster.standin.stall(NAMESPACE, POD, true);
    let trial = Trial::begin(client, &session, Count::to("claimed", 200)).await?;
    until_kind(&bus, &trial.exec, Kind::Started).await?;
    let since = Instant::now();
    assert_eq!(cluster.standin.end_exec(NAMESPACE, POD, Ending::Cut), 1);
    cluster.standin.until_live_execs(NAMESPACE, POD, 0).await;
    cluster.standin.stall(NAMESPACE, POD, false);
    end(&cluster, trial, "cut before the launch", since).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_network_that_cuts_the_way_into_the_pod_loses_nothing() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[POD]).await?;
    let trial = begin(&cluster, "closed").await?;
    let since = Instant::now();
    cluster.api.drop_connections();
    end(&cluster, trial, "connections closed", since).await?;

    let trial = begin(&cluster, "reset").await?;
    let since = Instant::now();
    cluster.api.reset_connections();
    end(&cluster, trial, "connections reset", since).await?;

    let trial = begin(&cluster, "refused").await?;
    cluster.api.refuse();
    sleep(Duration::from_secs(3)).await;
    cluster.api.pass();
    end(&cluster, trial, "refused for 3 s", Instant::now()).await?;

    let trial = begin(&cluster, "frozen").await?;
    cluster.api.freeze();
    sleep(Duration::from_secs(3)).await;
    cluster.api.pass();
    end(&cluster, trial, "frozen for 3 s", Instant::now()).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_restarts_loses_nothing() -> Outcome<()> {
    let mut cluster = Cluster::start(options(), &[POD]).await?;
    let trial = begin(&cluster, "restarted").await?;
    cluster.standin.stop_api().await;
    sleep(Duration::from_secs(1)).await;
    cluster.standin.start_api().await?;
    end(&cluster, trial, "API server restarted", Instant::now()).await?;
    cluster.shutdown().await;
    Ok(())
}

/// A proxy that cuts what is idle, while the command prints nothing.
#[tokio::test]
async fn an_idle_connection_that_is_cut_is_made_again() -> Outcome<()> {
    let cluster = Cluster::start(options(), &[POD]).await?;
    let client = cluster.client();
    let session = client.session(POD).await?;
    let trial = Trial::begin(client, &session, Count::to("idle", 200).gated(100)).await?;
    trial.reader.until_count(110).await?;
    cluster.api.drop_connections();
    cluster.standin.until_live_execs(NAMESPACE, POD, 0).await;
    cluster.standin.until_live_execs(NAMESPACE, POD, 1).await;
    let since = Instant::now();
    trial.count.open_gate(&cluster.pod(POD))?;
    end(&cluster, trial, "idle connection cut", since).await?;
    cluster.shutdown().await;
    Ok(())
}
