//! Orders for the exec that is followed: out of the log, to the shim, and out of the log for good
//! once the shim has them.
//!
//! A task reads them, because reading must not begin anew with every frame that comes from the pod;
//! it also removes what was carried out. [`Orders`] belongs to the pump: it knows what the shim has
//! not confirmed yet, and gives that again after a reconnect.
//!
//! Invariant: an order leaves the log only when the shim has applied it, and the last one stays until
//! the exec has ended. Giving one twice is harmless: the shim keeps the highest order that it has
//! applied, and takes input by offset.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rdev_bus::Bus;
use rdev_bus::control::decode;
use rdev_bus::live::{LogReader, Next};
use rdev_contract::control::{ControlMessage, Order};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, StreamSeq};
use rdev_domain::approval::InputPiece;
use rdev_frames::TerminalSize;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::claim::frame_size;
use crate::feed::{Feed, Piece};
use crate::pod::channel::ExecHandle;

/// Between two tries while the log, or the shim, cannot do what is asked of it.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// What is not answered in this time is given again. A command may well not read its input for
/// longer; to hear that again costs little.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Orders that may wait between the log and the pump, which takes them at once.
const WAITING_MAX: usize = 4;

/// An order that goes to the shim with its place in the log, and is answered by it.
#[derive(Debug, Clone, Copy)]
enum Control {
    Cancel,
    Signal(i32),
    Resize(TerminalSize),
}

/// The orders of one exec, while it is followed.
#[derive(Debug)]
pub struct Orders {
    incoming: mpsc::Receiver<Recorded<ControlMessage>>,
    /// Everything before this has been carried out.
    done: watch::Sender<StreamSeq>,
    /// The last one that came.
    last: StreamSeq,
    /// Given to the shim and not confirmed, in their order.
    unconfirmed: VecDeque<(StreamSeq, Control)>,
    /// Answers to an agent that are not in the log yet, with their orders.
    held: VecDeque<(StreamSeq, InputPiece)>,
    /// The log has all events before this one.
    logged: EventNo,
    /// Input that the shim has not taken.
    feed: Feed,
    /// The order that cancels the exec, and why. It is kept: a take-over has to know why, too.
    canceled: Option<(StreamSeq, String)>,
    retry_at: Option<Instant>,
    _reading: AbortOnDropHandle<()>,
}

impl Orders {
    /// Those of `exec`, from the oldest that is kept on.
    #[must_use]
    pub fn of(bus: &Bus, exec: &ExecId) -> Self {
        let (orders, incoming) = mpsc::channel(WAITING_MAX);
        let (done, carried_out) = watch::channel(StreamSeq(0));
        let reading = read(bus.clone(), exec.clone(), orders, carried_out);
        Self {
            incoming,
            done,
            last: StreamSeq(0),
            unconfirmed: VecDeque::new(),
            held: VecDeque::new(),
            logged: EventNo::FIRST,
            feed: Feed::default(),
            canceled: None,
            retry_at: None,
            _reading: AbortOnDropHandle::new(tokio::spawn(reading)),
        }
    }

    /// The next order. May be dropped and called again.
    pub async fn next(&mut self) -> Recorded<ControlMessage> {
        match self.incoming.recv().await {
            Some(order) => order,
            // The task lives as long as this.
            None => std::future::pending().await,
        }
    }

    /// When [`Orders::give_again`] is due.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether there has been any order.
    #[must_use]
    pub fn are_there(&self) -> bool {
        self.last > StreamSeq(0)
    }

    /// Why the exec was canceled; empty if nobody said so.
    #[must_use]
    pub fn cancel_reason(&self) -> &str {
        self.canceled.as_ref().map_or("", |(_, reason)| reason)
    }

    /// Passes an order on to the shim.
    pub async fn take(&mut self, order: Recorded<ControlMessage>, shim: &ExecHandle) {
        let Recorded { sequence, value } = order;
        if !self.are_there() {
            // Nothing is before the first one.
            self.done.send_if_modified(|done| {
                *done = sequence;
                false
            });
        }
        self.last = sequence;
        match value.order {
            Order::Cancel { reason } => {
                tracing::info!(stream.id = %value.stream, by = ?value.by, reason, "exec canceled");
                self.canceled = Some((sequence, reason));
                self.control(sequence, Control::Cancel, shim).await;
            }
            Order::Signal { signal } => {
                let control = Control::Signal(signal.number());
                self.control(sequence, control, shim).await;
            }
            Order::Resize { size } => {
                self.control(sequence, Control::Resize(frame_size(size)), shim)
                    .await;
            }
            Order::Stdin { offset, input, end } => match input.bytes() {
                Ok(bytes) => {
                    self.feed.add(sequence, offset, Bytes::from(bytes), end);
                    self.send_input(shim).await;
                }
                Err(error) => {
                    tracing::error!(stream.id = %value.stream, seq = %sequence, %error, "poison");
                }
            },
            // What is to be given to the agent comes from its run, once that has looked at it.
            Order::Answer { .. } => {}
            Order::Unknown => {
                tracing::warn!(stream.id = %value.stream, seq = %sequence,
                    "an order of a newer version is passed over");
            }
        }
        self.note_done();
    }

    /// Takes input that the run has for its agent, for an order or of its own accord.
    pub async fn hold(
        &mut self,
        order: Option<StreamSeq>,
        pieces: Vec<InputPiece>,
        shim: &ExecHandle,
    ) {
        // What comes of no order keeps none in the log.
        let sequence = order.unwrap_or(StreamSeq(u64::MAX));
        let pieces = pieces.into_iter().map(|piece| (sequence, piece));
        self.held.extend(pieces);
        self.release(shim).await;
    }

    /// The log has all events before `next`.
    pub async fn logged(&mut self, next: EventNo, shim: &ExecHandle) {
        self.logged = next;
        self.release(shim).await;
    }

    /// An agent is given no answer that is not in the log.
    async fn release(&mut self, shim: &ExecHandle) {
        let mut is_more = false;
        while let Some((sequence, piece)) = self
            .held
            .pop_front_if(|(_, piece)| piece.number < self.logged)
        {
            let InputPiece {
                offset, bytes, end, ..
            } = piece;
            self.feed.add(sequence, offset, Bytes::from(bytes), end);
            is_more = true;
        }
        if is_more {
            self.send_input(shim).await;
        }
        self.note_done();
    }

    async fn control(&mut self, sequence: StreamSeq, control: Control, shim: &ExecHandle) {
        self.unconfirmed.push_back((sequence, control));
        give(shim, sequence, control).await;
        self.await_answers();
    }

    /// The shim has applied this order, or a later one.
    pub fn confirmed(&mut self, control_seq: u64) {
        while let Some((sequence, _)) = self.unconfirmed.front()
            && sequence.0 <= control_seq
        {
            self.unconfirmed.pop_front();
        }
        self.await_answers();
        self.note_done();
    }

    /// The shim has taken input up to here.
    pub async fn fed(&mut self, offset: u64, full: bool, closed: bool, shim: &ExecHandle) {
        self.feed.answered(offset, full, closed);
        self.go_on_feeding(shim).await;
    }

    /// The shim could not do what it was asked for.
    pub fn undone(&mut self, message: &str) {
        tracing::warn!(message, "the shim refused an order: it is given again");
        self.retry_at = Some(Instant::now() + RETRY_DELAY);
    }

    /// Gives everything again that has not been confirmed: over another connection, or after a pause.
    pub async fn give_again(&mut self, shim: &ExecHandle) {
        self.retry_at = None;
        for (sequence, control) in &self.unconfirmed {
            give(shim, *sequence, *control).await;
        }
        self.feed.begin_anew();
        self.go_on_feeding(shim).await;
    }

    async fn go_on_feeding(&mut self, shim: &ExecHandle) {
        if self.feed.has_gap() {
            self.undone("input is missing");
        } else {
            self.send_input(shim).await;
        }
        self.note_done();
    }

    async fn send_input(&mut self, shim: &ExecHandle) {
        for Piece { offset, bytes, end } in self.feed.next() {
            shim.stdin(offset, bytes, end).await;
        }
        self.await_answers();
    }

    /// Something was heard or sent: whatever is still to be answered has its time from now on.
    fn await_answers(&mut self) {
        let is_waiting = !self.unconfirmed.is_empty() || self.feed.is_waiting();
        self.retry_at = is_waiting.then(|| Instant::now() + ANSWER_TIMEOUT);
    }

    /// Whatever is before the first order that is still needed may go.
    fn note_done(&self) {
        let needed = [
            self.unconfirmed.front().map(|(sequence, _)| *sequence),
            self.held.iter().map(|(sequence, _)| *sequence).min(),
            self.feed.oldest(),
            self.canceled.as_ref().map(|(sequence, _)| *sequence),
            // What all orders come to is in the last one.
            Some(self.last),
        ];
        if let Some(first) = needed.into_iter().flatten().min() {
            self.done.send_if_modified(|done| {
                let is_more = first > *done;
                *done = first.max(*done);
                is_more
            });
        }
    }
}

async fn give(shim: &ExecHandle, sequence: StreamSeq, control: Control) {
    match control {
        Control::Cancel => shim.cancel(sequence.0).await,
        Control::Signal(number) => shim.signal(sequence.0, number).await,
        Control::Resize(size) => shim.resize(sequence.0, size).await,
    }
}

/// Reads orders, and removes those that were carried out, for as long as somebody wants them.
async fn read(
    bus: Bus,
    exec: ExecId,
    orders: mpsc::Sender<Recorded<ControlMessage>>,
    mut done: watch::Receiver<StreamSeq>,
) {
    loop {
        match LogReader::of_orders(&bus, &exec).await {
            Ok(reader) => follow(&bus, &exec, reader, &orders, &mut done).await,
            Err(error) => tracing::debug!(stream.id = %exec.stream, %error, "no orders are read"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Reads until the stream is another one.
async fn follow(
    bus: &Bus,
    exec: &ExecId,
    mut reader: LogReader,
    orders: &mpsc::Sender<Recorded<ControlMessage>>,
    done: &mut watch::Receiver<StreamSeq>,
) {
    loop {
        let next = tokio::select! {
            next = reader.next() => next,
            Ok(()) = done.changed() => {
                let before = *done.borrow_and_update();
                // What stays is removed with the next ones, or at the end.
                if let Err(error) = bus.remove_orders(exec, Some(before)).await {
                    tracing::debug!(stream.id = %exec.stream, %error, "orders are not removed");
                }
                continue;
            }
        };
        match next {
            Ok(Next::CaughtUp) => {}
            Ok(Next::Restored) => return,
            Ok(Next::Message(stored)) => match decode(&stored) {
                Ok(order) => {
                    if orders.send(order).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(stream.id = %exec.stream, seq = %stored.sequence, %error, "poison");
                }
            },
            Err(error) => {
                tracing::debug!(stream.id = %exec.stream, %error, "no orders are read");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}
