//! The faults, one function each.

use std::time::Duration;

use rdev_contract::event::Kind;
use rdev_embedded::Signal;
use rdev_kube_standin::Ending;
use rdev_tests::Outcome;
use rdev_tests::cluster::{CONTAINER, NAMESPACE};
use rdev_tests::proxy::Outage;
use tokio::time::{Instant, sleep};

use super::lane::{Lane, POD, Place, Trial};
use super::random::Random;
use super::table::Shown;

/// A fault that takes longer than the ack wait is survived by a command that takes longer still.
const LONG_LINES: u32 = 900;
/// For faults that are over at once.
const SHORT_LINES: u32 = 300;
/// Between ten lines and the next ten: the long one takes nine seconds, the short one three.
const PAUSE: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(9);
const SHORT: Duration = Duration::from_secs(3);
/// Longer than the ack wait: another executor has taken over by then.
const STOPPED: Duration = Duration::from_secs(8);
const CUT_OFF: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    ExecutorKilled,
    ExecutorStopped,
    ExecutorTerminated,
    NatsKilled,
    ExecutorCut(u64),
    ExecutorCutOff,
    GatewayCut(u64),
    ApiCut(u64),
    ChannelEnded(Ending),
    ContainerRestarted,
    GatewayKilled,
}

impl Scenario {
    pub(crate) const ALL: [Self; 20] = [
        Self::ExecutorKilled,
        Self::ExecutorStopped,
        Self::ExecutorTerminated,
        Self::NatsKilled,
        Self::ExecutorCut(1),
        Self::ExecutorCut(10),
        Self::ExecutorCut(60),
        Self::ExecutorCutOff,
        Self::GatewayCut(1),
        Self::GatewayCut(10),
        Self::GatewayCut(60),
        Self::ApiCut(1),
        Self::ApiCut(10),
        Self::ApiCut(60),
        Self::ChannelEnded(Ending::Status(0)),
        Self::ChannelEnded(Ending::SuccessUnfinished),
        Self::ChannelEnded(Ending::CloseWithoutStatus),
        Self::ChannelEnded(Ending::Cut),
        Self::ContainerRestarted,
        Self::GatewayKilled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExecutorKilled => "executor SIGKILL",
            Self::ExecutorStopped => "executor SIGSTOP for 8 s, then SIGCONT",
            Self::ExecutorTerminated => "executor SIGTERM (rolling upgrade)",
            Self::NatsKilled => "nats-server SIGKILL and restart",
            Self::ExecutorCut(1) => "executor↔NATS cut or frozen for 1 s",
            Self::ExecutorCut(10) => "executor↔NATS cut or frozen for 10 s",
            Self::ExecutorCut(_) => "executor↔NATS cut or frozen for 60 s",
            Self::ExecutorCutOff => "executor↔NATS frozen for 10 s, another takes over",
            Self::GatewayCut(1) => "gateway↔NATS cut or frozen for 1 s",
            Self::GatewayCut(10) => "gateway↔NATS cut or frozen for 10 s",
            Self::GatewayCut(_) => "gateway↔NATS cut or frozen for 60 s",
            Self::ApiCut(1) => "executor↔Kubernetes API cut or frozen for 1 s",
            Self::ApiCut(10) => "executor↔Kubernetes API cut or frozen for 10 s",
            Self::ApiCut(_) => "executor↔Kubernetes API cut or frozen for 60 s",
            Self::ChannelEnded(Ending::Status(_)) => "exec channel: status with a code",
            Self::ChannelEnded(Ending::SuccessUnfinished) => "exec channel: Success, tail missing",
            Self::ChannelEnded(Ending::CloseWithoutStatus) => {
                "exec channel: close without a status"
            }
            Self::ChannelEnded(Ending::Cut) => "exec channel: TCP reset",
            Self::ContainerRestarted => "container restarted (must be told as lost)",
            Self::GatewayKilled => "gateway SIGKILL, resume through another",
        }
    }

    /// Rounds when nothing else is asked for.
    pub(crate) fn rounds(self) -> usize {
        if self == Self::ExecutorKilled {
            100
        } else {
            20
        }
    }

    /// How many worlds work on its rounds, if `lanes` is what was asked for: waiting needs no
    /// processor.
    pub(crate) fn lanes(self, lanes: usize) -> usize {
        match self {
            Self::ExecutorCut(60) | Self::GatewayCut(60) | Self::ApiCut(60) => lanes * 2,
            Self::ExecutorKilled
            | Self::ExecutorStopped
            | Self::ExecutorTerminated
            | Self::NatsKilled
            | Self::ExecutorCut(_)
            | Self::ExecutorCutOff
            | Self::GatewayCut(_)
            | Self::ApiCut(_)
            | Self::ChannelEnded(_)
            | Self::ContainerRestarted
            | Self::GatewayKilled => lanes,
        }
    }

    pub(crate) fn place(self) -> Place {
        match self {
            Self::ExecutorKilled
            | Self::ExecutorStopped
            | Self::ExecutorTerminated
            | Self::NatsKilled
            | Self::GatewayKilled => Place::Local,
            Self::ExecutorCut(_) | Self::ExecutorCutOff => Place::ExecutorBehindProxy,
            Self::GatewayCut(_) => Place::GatewayBehindProxy,
            Self::ApiCut(_) | Self::ChannelEnded(_) | Self::ContainerRestarted => Place::Kube,
        }
    }

    /// One round: commands, the fault at its moment, the ends.
    pub(crate) async fn round(
        self,
        lane: &mut Lane,
        round: usize,
        mut random: Random,
    ) -> Outcome<Vec<Shown>> {
        let (lines, takes) = match self {
            Self::ExecutorKilled | Self::ExecutorStopped | Self::ExecutorCutOff => {
                (LONG_LINES, LONG)
            }
            Self::ExecutorTerminated
            | Self::NatsKilled
            | Self::ExecutorCut(_)
            | Self::GatewayCut(_)
            | Self::ApiCut(_)
            | Self::ChannelEnded(_)
            | Self::ContainerRestarted
            | Self::GatewayKilled => (SHORT_LINES, SHORT),
        };
        if self == Self::GatewayKilled && lane.gateways.len() < 2 {
            lane.add_gateway().await?;
        }
        let trials = lane.begin(&format!("round-{round}"), lines, PAUSE).await?;
        let moment = random.below(takes);
        match self {
            Self::ExecutorKilled => executor_killed(lane, trials, moment).await,
            Self::ExecutorStopped => executor_stopped(lane, trials, moment).await,
            Self::ExecutorTerminated => executor_terminated(lane, trials, moment).await,
            Self::NatsKilled => nats_killed(lane, trials, moment).await,
            Self::ExecutorCut(seconds) | Self::GatewayCut(seconds) | Self::ApiCut(seconds) => {
                sleep(moment).await;
                let outage = if random.coin() {
                    Outage::Frozen
                } else {
                    Outage::Refused
                };
                outage.last(&lane.proxy, Duration::from_secs(seconds)).await;
                lane.judge(trials, Instant::now()).await
            }
            Self::ExecutorCutOff => executor_cut_off(lane, trials, moment).await,
            Self::ChannelEnded(ending) => {
                sleep(moment).await;
                let since = Instant::now();
                if let Some(standin) = &lane.standin {
                    let _ = standin.end_exec(NAMESPACE, POD, ending);
                }
                lane.judge(trials, since).await
            }
            Self::ContainerRestarted => container_restarted(lane, trials, moment).await,
            Self::GatewayKilled => gateway_killed(lane, trials, moment).await,
        }
    }
}

async fn executor_killed(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    let standby = lane.world.executor()?;
    sleep(moment).await;
    let since = Instant::now();
    lane.executor.kill().await;
    lane.executor = standby;
    lane.judge(trials, since).await
}

async fn executor_stopped(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    let standby = lane.world.executor()?;
    sleep(moment).await;
    let since = Instant::now();
    lane.executor.signal(Signal::STOP)?;
    sleep(STOPPED).await;
    lane.executor.signal(Signal::CONT)?;
    let shown = lane.judge(trials, since).await;
    let stopped = std::mem::replace(&mut lane.executor, standby);
    stopped.stop().await;
    shown
}

async fn executor_terminated(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    let standby = lane.world.executor()?;
    // A rolling upgrade waits until the new one is ready.
    standby.until_it_says("executor is ready").await?;
    sleep(moment).await;
    let since = Instant::now();
    lane.executor.stop().await;
    lane.executor = standby;
    lane.judge(trials, since).await
}

async fn nats_killed(lane: &mut Lane, trials: Vec<Trial>, moment: Duration) -> Outcome<Vec<Shown>> {
    sleep(moment).await;
    lane.world.nats.kill().await;
    lane.world.nats.restart().await?;
    lane.judge(trials, Instant::now()).await
}

async fn executor_cut_off(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    let standby = lane.world.executor()?;
    sleep(moment).await;
    let since = Instant::now();
    Outage::Frozen.last(&lane.proxy, CUT_OFF).await;
    let shown = lane.judge(trials, since).await;
    standby.stop().await;
    shown
}

async fn gateway_killed(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    sleep(moment).await;
    let since = Instant::now();
    let (gateway, _) = lane.gateways.remove(0);
    gateway.kill().await;
    let shown = lane.judge(trials, since).await;
    lane.add_gateway().await?;
    shown
}

/// What was printed before is kept, exactly; the end is `lost`, and nothing is run again.
async fn container_restarted(
    lane: &mut Lane,
    trials: Vec<Trial>,
    moment: Duration,
) -> Outcome<Vec<Shown>> {
    for trial in &trials {
        trial.reader.until_count(1).await?;
    }
    sleep(moment).await;
    let pod = lane.pod();
    let launches: Vec<_> = trials
        .iter()
        .map(|trial| trial.count.pids(&pod).len())
        .collect();
    let standin = lane.standin.as_ref().ok_or("no cluster")?;
    let since = Instant::now();
    standin
        .restart_container(NAMESPACE, POD, CONTAINER, "OOMKilled")
        .await?;
    let mut all = Vec::new();
    for ((count, seen), launches) in lane.ends(trials).await?.into_iter().zip(launches) {
        let mut finding = count.judge(&seen.transcript, &lane.pod());
        let again = finding.launches;
        finding.launches += launches;
        let complete = seen.transcript.complete();
        let is_prefix = count
            .stdout()
            .as_bytes()
            .starts_with(&seen.transcript.bytes("stdout"));
        let log = lane.log_of(&count).await?;
        finding.bytes_lost = 0;
        finding.wrong = match (complete["outcome"].as_str(), log.check()) {
            (Some("exited"), Ok(())) if complete["ok"] == true => None,
            (Some("lost"), Ok(())) if is_prefix && again == 0 => None,
            (_, Err(wrong)) => Some(wrong),
            (_, Ok(())) => Some(format!("{} claims, {complete}", log.count(Kind::Started))),
        };
        all.push(Shown {
            finding,
            silence: seen.longest_silence(since),
            stream: count.name,
        });
    }
    Ok(all)
}
