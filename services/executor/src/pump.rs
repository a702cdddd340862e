//! From the pod to the log: frames become events, events become batches, and one batch at a time
//! is appended while the next one gathers (group commit).
//!
//! Invariant: nothing is acknowledged to the shim before it is in the log, so whatever is lost
//! between here and there is still in the journal.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rdev_bus::append::{AppendError, Entry, ExecWriter};
use rdev_contract::control::{ControlMessage, Order};
use rdev_contract::envelope::{Body, Recorded};
use rdev_contract::event::{Complete, Outcome, OutputStream, TerminalSize};
use rdev_contract::position::{EventNo, Offsets, StreamSeq};
use rdev_domain::run::{Batch, Exit, ProcessEnd, TimeOut};
use rdev_frames::{Acknowledged, Chunk, End, RefusalCode, Resize, Stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::claim::{Running, frame_offsets};
use crate::context::{Context, Stop, final_reason, now};
use crate::finish::Ended;
use crate::lease::Proof;
use crate::metrics::{METRICS, Unlogged};
use crate::orders::Orders;
use crate::pod::PodError;
use crate::pod::channel::ExecEvent;

/// Encoded events that may wait for the log before the pod is asked to wait as well.
const PENDING_MAX_BYTES: usize = 4 * 1024 * 1024;
/// What a container printed before it ended arrives within this, or not at all.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// No order comes behind the one of an executor that ends for good.
const LAST_ORDER: u64 = u64::MAX;
/// Between two tries to reach the pod again; doubles up to the maximum.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(50);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// An append under way; it gives the writer back.
type Append = BoxFuture<'static, (ExecWriter, Result<(), AppendError>)>;

/// How the output of a command came to its end.
enum Last {
    Ended(Box<End>),
    Without(Complete),
}

struct Pump<'a> {
    running: Running,
    /// Taken while an append is under way.
    writer: Option<ExecWriter>,
    /// What the append under way will have put into the log.
    appending: Option<(Append, EventNo, Offsets)>,
    last: Option<Last>,
    /// What else is wanted of it.
    orders: Orders,
    /// Orders that follow from questions which nobody has answered, while they are given.
    timing_out: JoinSet<()>,
    /// Resolves when the container is gone.
    replaced: BoxFuture<'static, String>,
    /// Why it is gone, and how long its last words are waited for.
    gone: Option<(String, Instant)>,
    /// It is to be canceled when this executor ends, and was not yet.
    may_cancel: bool,
    began: Instant,
    /// What came and is not in the log.
    unlogged: Unlogged,
    /// The number of the first event that is not in the log.
    logged_to: EventNo,
    proof: &'a Proof,
}

/// Follows the command until everything it printed is in the log and its end is known.
///
/// # Errors
/// [`Stop`] when the exec is another's by now, or the pod cannot be reached for the moment.
pub async fn run(
    context: &Arc<Context>,
    running: Running,
    writer: ExecWriter,
    proof: &Proof,
) -> Result<Ended, Stop> {
    let logged_to = running.run.next();
    let (watching, pod) = (Arc::clone(context), running.pod.clone());
    let mut pump = Pump {
        orders: Orders::of(&context.bus, &running.exec),
        running,
        timing_out: JoinSet::new(),
        writer: Some(writer),
        appending: None,
        last: None,
        replaced: async move { watching.channels.backend().replaced(&pod).await }.boxed(),
        gone: None,
        may_cancel: context.config.cancel_on_shutdown,
        began: Instant::now(),
        unlogged: Unlogged::default(),
        logged_to,
        proof,
    };
    pump.give_input(None).await;
    loop {
        pump.append_next();
        if pump.appending.is_none() && pump.last.is_some() {
            return pump.ended();
        }
        pump.step(context).await?;
    }
}

impl Pump<'_> {
    /// Waits for the next thing that happens, and deals with it.
    async fn step(&mut self, context: &Arc<Context>) -> Result<(), Stop> {
        let run = &self.running.run;
        let may_read = self.last.is_none() && run.pending_bytes() < PENDING_MAX_BYTES;
        let partial_due = run.partial_due().map(|due| self.began + due);
        let given_up = self.gone.as_ref().map(|(_, until)| *until);
        let give_again = self.orders.retry_at();
        let answer_due = run.answer_due().map(instant_of);
        tokio::select! {
            biased;
            (writer, result) = appended(&mut self.appending) => {
                result?;
                self.appended(writer).await;
            }
            () = sleep_until(partial_due) => {
                self.running.run.flush_partials(self.began.elapsed());
            }
            order = self.orders.next(), if self.last.is_none() => self.order(order).await,
            () = sleep_until(give_again), if self.last.is_none() => {
                self.orders.give_again(&self.running.handle).await;
            }
            () = sleep_until(answer_due), if self.last.is_none() => self.time_out(context),
            event = self.running.handle.next(), if may_read => {
                self.take(context, event).await?;
            }
            reason = &mut self.replaced, if self.gone.is_none() => {
                self.gone = Some((reason, Instant::now() + LAST_WORDS_TIMEOUT));
            }
            () = sleep_until(given_up), if self.last.is_none() => self.give_up(),
            () = context.shutdown.requested(), if self.may_cancel => {
                self.may_cancel = false;
                self.running.handle.cancel(LAST_ORDER).await;
            }
        }
        Ok(())
    }

    fn append_next(&mut self) {
        if self.writer.is_none() {
            return;
        }
        let Some(batch) = self.running.run.take_batch() else {
            return;
        };
        if let Some(writer) = self.writer.take() {
            let (next, to) = (batch.next, batch.to);
            self.appending = Some((append(writer, batch).boxed(), next, to));
        }
    }

    async fn appended(&mut self, writer: ExecWriter) {
        self.writer = Some(writer);
        let Some((_, next, to)) = self.appending.take() else {
            return;
        };
        self.unlogged.logged(self.running.to, to);
        METRICS
            .events
            .inc_by(next.0.saturating_sub(self.logged_to.0));
        self.logged_to = next;
        self.running.to = to;
        self.proof.renew(self.running.claim);
        // Begins before the acknowledgement is sent: the log is the slower of the two.
        self.append_next();
        self.running
            .handle
            .acknowledge(acknowledged(next, to))
            .await;
        self.orders.logged(next, &self.running.handle).await;
    }

    async fn take(&mut self, context: &Arc<Context>, event: ExecEvent) -> Result<(), Stop> {
        match event {
            ExecEvent::Accepted { .. } => self.running.launch = None,
            ExecEvent::Output(chunk) => {
                self.feed(&chunk)?;
                self.give_input(None).await;
            }
            ExecEvent::Resized(resize) => self.resize(&resize)?,
            ExecEvent::End(end) => {
                self.check_end(&end)?;
                self.running.run.finish();
                self.last = Some(Last::Ended(end));
            }
            ExecEvent::Refused {
                code: RefusalCode::Failed,
                message,
            } => {
                return Err(Stop::Passing(message));
            }
            ExecEvent::Refused { code, message } => {
                tracing::warn!(?code, message, "the shim refused");
                self.lose(message);
            }
            ExecEvent::Lost(reason) => self.lose(reason),
            ExecEvent::Controlled { control_seq } => self.orders.confirmed(control_seq),
            ExecEvent::Stdin {
                offset,
                full,
                closed,
            } => {
                let shim = &self.running.handle;
                self.orders.fed(offset, full, closed, shim).await;
            }
            ExecEvent::Undone(message) => self.orders.undone(&message),
            ExecEvent::Disconnected(reason) => self.reconnect(context, &reason).await?,
        }
        Ok(())
    }

    fn feed(&mut self, chunk: &Chunk) -> Result<(), Stop> {
        let stream = match chunk.stream {
            Stream::Stdout => OutputStream::Stdout,
            Stream::Stderr => OutputStream::Stderr,
        };
        self.running.run.tell_time(now());
        let (now, before) = (self.began.elapsed(), self.running.run.received());
        // A hole cannot be healed here; the next claim reads the journal from the log's offsets.
        self.running
            .run
            .feed(stream, chunk.offset, &chunk.bytes, now)
            .map_err(|error| Stop::Passing(error.to_string()))?;
        // Some of it may have come before.
        self.unlogged.came(before, self.running.run.received());
        Ok(())
    }

    async fn order(&mut self, order: Recorded<ControlMessage>) {
        let sequence = order.sequence;
        let is_answer = matches!(order.value.order, Order::Answer { .. });
        if is_answer && !self.running.run.answer(&order) {
            tracing::info!(stream.id = %order.value.stream, "an answer that nobody waits for");
        }
        self.orders.take(order, &self.running.handle).await;
        self.give_input(Some(sequence)).await;
    }

    /// Gives the agent what its run has for it, as soon as the log has that.
    async fn give_input(&mut self, order: Option<StreamSeq>) {
        let pieces = self.running.run.take_input();
        if !pieces.is_empty() {
            let shim = &self.running.handle;
            self.orders.hold(order, pieces, shim).await;
        }
    }

    /// Nobody has answered the agent in time.
    fn time_out(&mut self, context: &Context) {
        let Some(time_out) = self.running.time_out else {
            return;
        };
        for approval_id in self.running.run.take_overdue(now()) {
            let exec = self.running.exec.clone();
            let giving = time_out.give(context.bus.clone(), exec, approval_id);
            self.timing_out.spawn(giving);
        }
    }

    fn resize(&mut self, resize: &Resize) -> Result<(), Stop> {
        let size = TerminalSize {
            cols: resize.size.columns,
            rows: resize.size.rows,
        };
        self.running
            .run
            .resize(resize.number, resize.offset, size)
            .map_err(|error| Stop::Passing(error.to_string()))
    }

    /// Only frames decide, and they must add up.
    fn check_end(&self, end: &End) -> Result<(), Stop> {
        let received = self.running.run.received();
        if (received.stdout, received.stderr) == (end.stdout_bytes, end.stderr_bytes) {
            return Ok(());
        }
        Err(Stop::Passing(format!(
            "the command ended after {} and {} bytes, but {} and {} have come",
            end.stdout_bytes, end.stderr_bytes, received.stdout, received.stderr
        )))
    }

    fn lose(&mut self, reason: String) {
        self.running.run.finish();
        self.last = Some(Last::Without(Complete::without_process(
            Outcome::Lost,
            reason,
        )));
    }

    /// The container is gone and has said nothing more.
    fn give_up(&mut self) {
        if let Some((reason, _)) = &self.gone {
            self.lose(reason.clone());
        }
    }

    /// The connection is gone, the command is not: follow it over another one.
    async fn reconnect(&mut self, context: &Arc<Context>, reason: &str) -> Result<(), Stop> {
        if self.gone.is_some() {
            self.give_up();
            return Ok(());
        }
        tracing::info!(stream.id = %self.running.exec.stream, reason, "following anew");
        let mut delay = RECONNECT_DELAY_MIN;
        loop {
            match context.channels.get(&self.running.pod).await {
                Ok(channel) => {
                    let from = frame_offsets(self.running.run.received());
                    let (key, window) = (self.running.key.clone(), self.running.window_bytes);
                    self.running.handle = match self.running.launch.clone() {
                        // Whether it arrived is not known: the claim in the pod decides.
                        Some(spec) if channel.instance() == self.running.shim => {
                            channel.launch(key, *spec, from, window).await
                        }
                        Some(_) | None => channel.follow(key, from, window).await,
                    };
                    self.orders.give_again(&self.running.handle).await;
                    return Ok(());
                }
                Err(error) => {
                    if let Some(reason) = final_reason(&error) {
                        self.lose(reason);
                        return Ok(());
                    }
                    log_unreachable(&error);
                }
            }
            self.wait(&mut delay).await?;
        }
    }

    /// Waits before the next try; an append that is under way goes on meanwhile.
    async fn wait(&mut self, delay: &mut Duration) -> Result<(), Stop> {
        let until = Instant::now() + *delay;
        *delay = (*delay * 2).min(RECONNECT_DELAY_MAX);
        loop {
            tokio::select! {
                (writer, result) = appended(&mut self.appending) => {
                    result?;
                    self.appended(writer).await;
                }
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    fn ended(self) -> Result<Ended, Stop> {
        let (Some(writer), Some(last)) = (self.writer, self.last) else {
            return Err(Stop::Passing(
                "the end came before the last append".to_owned(),
            ));
        };
        let Running {
            exec,
            command_seq,
            run,
            pod,
            key,
            to,
            ..
        } = self.running;
        let mut complete = match last {
            Last::Ended(end) => run.complete(&process_end(*end), exec.session.conversation()),
            Last::Without(complete) => complete,
        };
        if complete.outcome == Outcome::Canceled && complete.reason.is_empty() {
            self.orders.cancel_reason().clone_into(&mut complete.reason);
        }
        Ok(Ended {
            exec,
            command_seq,
            writer,
            next: run.next(),
            to,
            complete,
            has_orders: self.orders.are_there(),
            pod,
            key,
        })
    }
}

async fn append(mut writer: ExecWriter, batch: Batch) -> (ExecWriter, Result<(), AppendError>) {
    let entry = Entry {
        kind: batch.kind,
        first: Some(batch.first),
        to: Some(batch.to),
        body: Body::Events(&batch.events),
    };
    let result = writer.append(entry, now()).await;
    (writer, result.map(|_| ()))
}

async fn appended(
    appending: &mut Option<(Append, EventNo, Offsets)>,
) -> (ExecWriter, Result<(), AppendError>) {
    match appending {
        Some((append, _, _)) => append.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// When that time will be, by this process's own clock.
fn instant_of(due: Timestamp) -> Instant {
    let wait = Duration::try_from(due.duration_since(now()));
    Instant::now() + wait.unwrap_or_default()
}

fn acknowledged(next: EventNo, to: Offsets) -> Acknowledged {
    Acknowledged {
        offsets: frame_offsets(to),
        next_event_number: next.0,
    }
}

fn log_unreachable(error: &PodError) {
    tracing::debug!(%error, "the pod cannot be reached");
}

fn process_end(end: End) -> ProcessEnd {
    ProcessEnd {
        exit: match end.exit {
            rdev_frames::Exit::Code(code) => Exit::Code(code),
            rdev_frames::Exit::Signal(signal) => Exit::Signal(signal),
        },
        timed_out: end.timed_out.then_some(if end.was_idle {
            TimeOut::Idle
        } else {
            TimeOut::Run
        }),
        has_survivors: end.has_survivors,
        canceled: end.canceled,
        spawn_error: end.spawn_error,
        error: end.error,
        totals: Offsets::new(end.stdout_bytes, end.stderr_bytes),
        stdout_sha256: end.stdout_sha256,
        stderr_sha256: end.stderr_sha256,
        duration_ms: end.duration_ms,
    }
}
