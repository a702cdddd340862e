//! Claiming an exec in the log, and only then touching its pod.
//!
//! `started` comes before the launch and `resumed` before the follow, so whoever comes later
//! knows where to look. The claim's own publish is what decides between two executors.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdev_bus::append::{Entry, ExecWriter};
use rdev_contract::envelope::{Body, Recorded};
use rdev_contract::event::{
    Complete, Kind, Outcome, PodIdentity, Resumed, ResumedFrom, Started, TerminalSize,
};
use rdev_contract::id::{AgentSessionId, ClaimId, ExecId};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_contract::trace::TraceParent;
use rdev_domain::approval::Approvals;
use rdev_domain::exec::ExecState;
use rdev_domain::invocation::{self, AgentPrograms, Invocation, InvocationContext};
use rdev_domain::run::{Format, Run};
use rdev_domain::session::{self, SessionState};
use rdev_frames::{Overflow, Spec, StopStep};
use rdev_runtime::trace::Traced;
use serde::Serialize;
use uuid::Uuid;

use crate::context::{Context, Stop, final_reason, now};
use crate::finish;
use crate::lease::Proof;
use crate::pod::channel::{Channel, ExecHandle};
use crate::pod::{PodError, PodRef};
use crate::said;
use crate::secrets;
use crate::traces;
use crate::unanswered::TimeOut;

/// Unacknowledged bytes of one exec that may be under way: enough to fill the time of an append,
/// and all that an exec of `shell` or `git` keeps in this process's memory.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// A line of an agent's is held back until it is whole, up to its limit; the rest is as above.
const AGENT_WINDOW_BYTES: u64 = rdev_domain::run::AGENT_LINE_MAX_BYTES as u64 + WINDOW_BYTES;

/// An older shim would run the command without a terminal and say nothing.
const NO_TERMINALS: &str = "the shim in the container knows no terminals: put the shim of this \
                            release into the image, or remove it so that it is uploaded";

/// What became of a claim.
pub enum Claim {
    /// The exec is ours, and followed; its messages are written by the writer.
    Running(Box<(Running, ExecWriter)>),
    /// It has been ended; there was nothing to run.
    Ended,
}

/// An exec that is ours: its place in the log and in the pod.
pub struct Running {
    /// Which exec.
    pub exec: ExecId,
    /// Sequence of its command.
    pub command_seq: StreamSeq,
    /// The claim.
    pub claim: ClaimId,
    /// Makes events of its output.
    pub run: Run,
    /// Its events from the pod.
    pub handle: ExecHandle,
    /// The container it runs in.
    pub pod: PodIdentity,
    /// Its key in the shim.
    pub key: String,
    /// Bytes that may be under way.
    pub window_bytes: u64,
    /// Up to where its output is in the log.
    pub to: Offsets,
    /// What is to be launched, as long as no shim has said that it has the request.
    pub launch: Option<Box<Spec>>,
    /// The shim instance that may launch it.
    pub shim: String,
    /// What happens if nobody answers its agent.
    pub time_out: Option<TimeOut>,
}

/// Claims an exec for the first time and launches its command.
pub async fn start(
    context: &Arc<Context>,
    state: &ExecState,
    proof: &Proof,
    traced: &Traced,
) -> Result<Claim, Stop> {
    let place = Some(traced.place());
    let facts = context
        .bus
        .session_facts(&state.exec.project, state.exec.session)
        .await?;
    let facts: Vec<_> = facts.into_iter().map(|fact| fact.value).collect();
    let rejected = async |reason: &str| {
        let end = Complete::without_process(Outcome::Rejected, reason);
        finish::end_unclaimed(context, state, &end, place).await
    };
    let Ok(session) = session::fold(&facts) else {
        return rejected("the session does not exist").await;
    };
    if let Some(why) = session.end_in_words() {
        return rejected(&why).await;
    }
    let pod = pod_ref(context, &session)?;
    let reaching = traces::reach(traced, reach(context, &session, &pod));
    let (pod, channel) = match reaching.await {
        Ok(reached) => reached,
        Err(error) => return rejected(&reason_or_stop(&error)?).await,
    };
    let resume_id = invocation::resume_id(&state.command.spec, &session);
    let invocation = invocation_of(context, state, resume_id);
    if invocation.terminal.is_some() && !channel.has_terminals() {
        return rejected(NO_TERMINALS).await;
    }
    let secrets = match secrets_of(context, state, &pod).await {
        Ok(secrets) => secrets,
        Err(error) => return rejected(&reason_or_stop(&error)?).await,
    };
    let started = Started {
        claim: ClaimId::new(Uuid::new_v4()),
        attempt: state.next_attempt(),
        executor: context.name.clone(),
        argv: invocation.argv.clone(),
        resume_id,
        pod: pod.clone(),
        shim: channel.instance().to_owned(),
    };
    let mut writer = writer(context, state, Some(started.claim), place);
    append_claim(&mut writer, Kind::Started, &started).await?;
    proof.renew(started.claim);
    let key = shim_key(&state.exec, state.command_seq);
    let window_bytes = window(invocation.format);
    let run = run_begun(state, &invocation);
    let spec = with_secrets(spec(context, invocation), secrets);
    let launch = Some(Box::new(spec.clone()));
    let handle = channel
        .launch(key.clone(), spec, frame_offsets(state.to), window_bytes)
        .await;
    let running = Running {
        exec: state.exec.clone(),
        command_seq: state.command_seq,
        claim: started.claim,
        run,
        handle,
        pod,
        key,
        window_bytes,
        to: state.to,
        launch,
        shim: started.shim,
        time_out: TimeOut::of(&state.command.spec),
    };
    Ok(Claim::Running(Box::new((running, writer))))
}

/// Takes over an exec that another claim started: the same process goes on. `failed_before` claims
/// in a row could not follow it.
pub async fn resume(
    context: &Arc<Context>,
    state: &ExecState,
    failed_before: u32,
    proof: &Proof,
    traced: &Traced,
) -> Result<Claim, Stop> {
    let place = Some(traced.place());
    let Some(before) = &state.claim else {
        return Err(Stop::Passing("there is no claim to resume".to_owned()));
    };
    let lost = async |reason: &str| {
        let end = Complete::without_process(Outcome::Lost, reason);
        finish::end_unclaimed(context, state, &end, place).await
    };
    let reaching = traces::reach(traced, context.channels.get(&before.pod));
    let channel = match reaching.await {
        Ok(channel) => channel,
        Err(error) => return lost(&reason_or_stop(&error)?).await,
    };
    if channel.instance() != before.shim {
        let reason = "the container was restarted: what ran in it is gone";
        return lost(reason).await;
    }
    let key = shim_key(&state.exec, state.command_seq);
    let state = &raised(state, &channel, &key).await?;
    let secrets = secrets_of_launch(context, state, &before.pod).await?;
    let claim = ClaimId::new(Uuid::new_v4());
    let resumed = Resumed {
        claim,
        attempt: state.next_attempt(),
        executor: context.name.clone(),
        pod: before.pod.clone(),
        shim: before.shim.clone(),
        from: ResumedFrom {
            next: state.next,
            offsets: state.to,
        },
        failed_before,
    };
    let mut writer = writer(context, state, Some(claim), place);
    append_claim(&mut writer, Kind::Resumed, &resumed).await?;
    proof.renew(claim);
    tracing::info!(stream.id = %state.exec.stream, attempt = resumed.attempt, "exec taken over");
    let resume_id = state.started.as_ref().and_then(|started| started.resume_id);
    let invocation = invocation_of(context, state, resume_id);
    let window_bytes = window(invocation.format);
    let run = run_taken_over(context, state, &invocation).await?;
    let from = frame_offsets(state.to);
    let launch = secrets.map(|secrets| {
        let mut spec = with_secrets(spec(context, invocation), secrets);
        if let Some(started) = &state.started {
            spec.argv.clone_from(&started.argv);
        }
        Box::new(spec)
    });
    let handle = match launch.clone() {
        Some(spec) => channel.launch(key.clone(), *spec, from, window_bytes).await,
        None => channel.follow(key.clone(), from, window_bytes).await,
    };
    let running = Running {
        exec: state.exec.clone(),
        command_seq: state.command_seq,
        claim,
        run,
        handle,
        pod: before.pod.clone(),
        key,
        window_bytes,
        to: state.to,
        launch,
        shim: before.shim.clone(),
        time_out: TimeOut::of(&state.command.spec),
    };
    Ok(Claim::Running(Box::new((running, writer))))
}

/// What is needed to launch what another claim may not have launched; none if that is over.
async fn secrets_of_launch(
    context: &Context,
    state: &ExecState,
    pod: &PodIdentity,
) -> Result<Option<BTreeMap<String, String>>, Stop> {
    if !state.may_launch() {
        return Ok(None);
    }
    // Nothing was seen of it: the executor before may have ended between claim and launch. Where its
    // secrets are gone by now, it is only followed, and is lost if it was never launched.
    match secrets_of(context, state, pod).await {
        Ok(secrets) => Ok(Some(secrets)),
        Err(error) if final_reason(&error).is_some() => Ok(None),
        Err(error) => Err(Stop::Passing(error.to_string())),
    }
}

/// Why a pod cannot be used, if that is final.
fn reason_or_stop(error: &PodError) -> Result<String, Stop> {
    final_reason(error).ok_or_else(|| Stop::Passing(error.to_string()))
}

/// The run of a command that is launched.
fn run_begun(state: &ExecState, invocation: &Invocation) -> Run {
    let run = Run::new(invocation.format, state.to, state.next);
    match (invocation.format, state.command.spec.approvals) {
        (Format::Agent(agent), Some(policy)) => {
            let stdin_to = invocation.stdin.len() as u64;
            run.with_approvals(Approvals::new(agent, policy, stdin_to, now()))
        }
        _ => run,
    }
}

/// The run of a command that goes on, with what the log has of it.
async fn run_taken_over(
    context: &Context,
    state: &ExecState,
    invocation: &Invocation,
) -> Result<Run, Stop> {
    let run = Run::new(invocation.format, state.to, state.next);
    let Format::Agent(agent) = invocation.format else {
        return Ok(run);
    };
    let stdin_to = invocation.stdin.len() as u64;
    let mut approvals = said::approvals(context, state, agent, stdin_to).await?;
    let tally = said::tally(context, state, agent, approvals.as_mut()).await?;
    let run = run.with_tally(tally);
    Ok(match approvals {
        Some(approvals) => run.with_approvals(approvals),
        None => run,
    })
}

/// The state with what the shim knows of the log: the log's own last bulk message may have expired.
async fn raised(state: &ExecState, channel: &Channel, key: &str) -> Result<ExecState, Stop> {
    let known = channel
        .acknowledged(key.to_owned())
        .await
        .map_err(|error| Stop::Passing(error.to_string()))?;
    let mut state = state.clone();
    state.raise(
        EventNo(known.next_event_number),
        Offsets {
            stdout: known.offsets.stdout,
            stderr: known.offsets.stderr,
            resizes: known.offsets.resizes,
        },
    );
    Ok(state)
}

async fn reach(
    context: &Context,
    session: &SessionState,
    pod: &PodRef,
) -> Result<(PodIdentity, Channel), PodError> {
    let identity = context.channels.backend().inspect(pod).await?;
    let provided = session.pod.as_ref().and_then(|pod| pod.pod.as_ref());
    if provided.is_some_and(|provided| provided.uid != identity.uid) {
        let name = &pod.name;
        let why = format!("the session's pod {name} was deleted; another one has its name now");
        return Err(PodError::Replaced(why));
    }
    let channel = context.channels.get(&identity).await?;
    Ok((identity, channel))
}

/// The pod that the session names, or the one that was made or chosen for it.
fn pod_ref(context: &Context, session: &SessionState) -> Result<PodRef, Stop> {
    let not_ready = || Stop::Passing("the session's pod is not ready".to_owned());
    let project = session.project.as_str().to_owned();
    if session.is_provided() {
        let pod = session.pod.as_ref().and_then(|pod| pod.pod.as_ref());
        let pod = pod.ok_or_else(not_ready)?;
        return Ok(PodRef {
            project,
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            container: pod.container.clone(),
        });
    }
    let name = session.created.pod.as_ref().ok_or_else(not_ready)?;
    let text = |label: &Option<rdev_contract::id::DnsLabel>| {
        label.as_ref().map(|label| label.as_str().to_owned())
    };
    Ok(PodRef {
        project,
        namespace: text(&session.created.namespace)
            .unwrap_or_else(|| context.config.namespace.clone()),
        name: name.as_str().to_owned(),
        container: text(&session.created.container).unwrap_or_default(),
    })
}

/// Writes behind what is known of an exec, under the next claim or none.
pub(crate) fn writer(
    context: &Context,
    state: &ExecState,
    claim: Option<ClaimId>,
    place: Option<TraceParent>,
) -> ExecWriter {
    let tail = Recorded {
        sequence: state.tail,
        value: state.chain.clone(),
    };
    let attempt = claim.map_or(0, |_| state.next_attempt());
    let (bus, exec) = (context.bus.clone(), state.exec.clone());
    let mut writer = ExecWriter::new(bus, exec, claim, attempt, tail);
    writer.set_trace(place);
    writer
}

async fn append_claim<T: Serialize>(
    writer: &mut ExecWriter,
    kind: Kind,
    fact: &T,
) -> Result<(), Stop> {
    let data =
        serde_json::value::to_raw_value(fact).map_err(|error| Stop::Passing(error.to_string()))?;
    let entry = Entry {
        kind,
        first: None,
        to: None,
        body: Body::Data(&data),
    };
    writer.append(entry, now()).await?;
    Ok(())
}

fn invocation_of(
    context: &Context,
    state: &ExecState,
    resume_id: Option<AgentSessionId>,
) -> Invocation {
    let invocation = InvocationContext {
        programs: AgentPrograms {
            claude: context.config.claude_bin.clone(),
            codex: context.config.codex_bin.clone(),
        },
        home: None,
        session: state.exec.session,
        stream: state.exec.stream.clone(),
        command_seq: state.command_seq,
        resume_id,
    };
    invocation::invocation(&state.command.spec, &invocation)
}

fn spec(context: &Context, invocation: Invocation) -> Spec {
    let milliseconds =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let env: BTreeMap<String, String> = invocation.env;
    Spec {
        env,
        cwd: invocation.cwd,
        stdin: invocation.stdin.into(),
        stdin_open: invocation.stdin_open,
        merge: invocation.merge,
        terminal: invocation.terminal.map(frame_size),
        timeout_ms: Some(milliseconds(invocation.timeout)),
        idle_timeout_ms: invocation.idle_timeout.map(milliseconds),
        stop: invocation
            .stop
            .iter()
            .map(|step| StopStep {
                signal: step.signal,
                wait_ms: milliseconds(step.wait),
            })
            .collect(),
        overflow: if invocation.held_back {
            Overflow::Backpressure
        } else {
            Overflow::Terminate
        },
        journal_max_bytes: context.config.journal_max,
        ..Spec::new(invocation.argv)
    }
}

async fn secrets_of(
    context: &Context,
    state: &ExecState,
    pod: &PodIdentity,
) -> Result<BTreeMap<String, String>, PodError> {
    let wanted = &state.command.spec.secret_env;
    secrets::resolve(context.channels.backend(), &state.exec.project, pod, wanted).await
}

/// What rdev itself sets stands.
fn with_secrets(mut spec: Spec, secrets: BTreeMap<String, String>) -> Spec {
    for (variable, value) in secrets {
        spec.env.entry(variable).or_insert(value);
    }
    spec
}

/// Names the exec in the shim: a repeat of its command is the same, another command is not.
fn shim_key(exec: &ExecId, command_seq: StreamSeq) -> String {
    format!(
        "{}.{}.{}.{command_seq}",
        exec.project, exec.session, exec.stream
    )
}

const fn window(format: Format) -> u64 {
    match format {
        Format::Lines { .. } | Format::Terminal => WINDOW_BYTES,
        Format::Agent(_) => AGENT_WINDOW_BYTES,
    }
}

/// The same numbers in the shim's language.
#[must_use]
pub const fn frame_offsets(offsets: Offsets) -> rdev_frames::Offsets {
    rdev_frames::Offsets {
        stdout: offsets.stdout,
        stderr: offsets.stderr,
        resizes: offsets.resizes,
    }
}

/// The same size in the shim's language.
#[must_use]
pub const fn frame_size(size: TerminalSize) -> rdev_frames::TerminalSize {
    rdev_frames::TerminalSize {
        columns: size.cols,
        rows: size.rows,
    }
}
