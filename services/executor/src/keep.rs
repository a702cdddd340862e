//! Keeps sessions: makes pods for them, ends those that are idle or have expired, removes their pods.
//! One executor does it for all: the one that is the scheduler ([`crate::schedule`]).
//!
//! It follows the facts of all sessions and holds those that something may be due of
//! (`rdev_domain::life`). What is due is looked at (`look`) one step at a time: a step does one thing
//! and says it in the log. Now and then pods that nobody remembers are looked for (`reap`).
//!
//! Invariant: nothing is in a keeper that is not in the log or in the cluster. It can be killed between
//! any two steps and in any of them, and two at a time make no second pod and no second end.

mod look;
mod reap;
mod settings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use rdev_bus::follow::Follower;
use rdev_bus::{Bus, LogStream, ReadError, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::{ExecId, ProjectId, SessionId};
use rdev_contract::position::StreamSeq;
use rdev_contract::session::{SessionFact, SessionKind, SessionMessage};
use rdev_contract::subject::Filter;
use rdev_domain::life::{self, Duty};
use rdev_domain::queue::Queue;
use rdev_domain::session::{SessionState, fold};

use crate::context::now;
use crate::metrics::{DONE, FAILED, METRICS};
use crate::pod::Backend;
pub use settings::KeepSettings;

/// How often it is looked whether something is due.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a step is waited with at most that was done again and again and has changed nothing.
const UNCHANGED_DELAY_MAX: Duration = Duration::from_secs(4);
/// The same of one that fails.
const FAILED_DELAY_MAX: Duration = Duration::from_secs(30);
/// Steps that are under way at a time.
const LOOKS_MAX: usize = 64;
/// How often pods are looked for that nobody remembers.
const REAP_INTERVAL: Duration = Duration::from_secs(60);

/// Which session.
pub type Key = (ProjectId, SessionId);

/// What a keeper works with.
pub struct Keep {
    /// The log.
    pub bus: Bus,
    /// Where pods are.
    pub backend: Arc<dyn Backend>,
    /// Settings.
    pub settings: KeepSettings,
    /// Name of this executor.
    pub name: String,
}

/// What was done, in the future that did it.
#[derive(Debug)]
pub enum Looked {
    /// A step for a session; the next one is due then at the latest.
    Session(Key, Result<Timestamp, String>),
    /// Whether the commands of a session have to wait for its pod.
    Waits(Key, bool),
    /// Pods that nobody remembers were removed.
    Reaped(Result<(), String>),
}

/// Something to be done.
pub type Look = BoxFuture<'static, Looked>;

/// The keeper of one term.
pub struct Keeper {
    keep: Arc<Keep>,
    facts: Follower,
    /// Which life of the stream of sessions it is.
    created_at: Timestamp,
    /// The stream's last message when this began.
    end: StreamSeq,
    is_replayed: bool,
    sessions: HashMap<Key, Kept>,
    looks: usize,
    reap_at: Timestamp,
}

/// A session that something may be due of.
struct Kept {
    state: SessionState,
    is_looked_at: bool,
    /// Not before this time.
    next: Timestamp,
    /// How long the last step was waited with: twice as long as the one before, until there is a fact.
    delay: Duration,
    /// It is not idle before this time, as far as is known.
    idle_at: Timestamp,
}

impl Keeper {
    /// Begins at the beginning of all sessions.
    ///
    /// # Errors
    /// [`ReadError`] when the log does not answer.
    pub async fn begin(keep: Arc<Keep>) -> Result<Self, ReadError> {
        let identity = keep.bus.identity(LogStream::Session).await?;
        let kinds = [
            SessionKind::Created,
            SessionKind::Pod,
            SessionKind::IdleWarning,
            SessionKind::Ended,
        ];
        let filters = kinds.map(Filter::session_facts).into();
        let facts = keep
            .bus
            .follow(LogStream::Session, filters, StreamSeq(0))
            .await?;
        Ok(Self {
            keep,
            facts,
            created_at: identity.created_at,
            end: identity.last,
            is_replayed: false,
            sessions: HashMap::new(),
            looks: 0,
            reap_at: now(),
        })
    }

    /// The next fact. May be dropped and called again.
    pub async fn next(&mut self) -> Recorded<Stored> {
        self.facts.next().await
    }

    /// Takes a fact in. Commands that waited for a pod are released when it is there, or will never be.
    pub fn take(&mut self, fact: &Recorded<Stored>, queue: &mut Queue) {
        let message: SessionMessage = match serde_json::from_slice(&fact.value.payload) {
            Ok(message) => message,
            // The stream takes anything; the projector tells of it.
            Err(error) => {
                tracing::error!(subject = fact.value.subject, %error, "not a session fact");
                return;
            }
        };
        let key = (message.project.clone(), message.session);
        if let SessionFact::Created(_) = message.fact
            && let Ok(state) = fold(std::slice::from_ref(&message))
            && is_kept(&state)
        {
            let kept = Kept {
                state,
                is_looked_at: false,
                next: Timestamp::MIN,
                delay: Duration::ZERO,
                idle_at: Timestamp::MIN,
            };
            self.sessions.entry(key).or_insert(kept);
            return;
        }
        let Some(kept) = self.sessions.get_mut(&key) else {
            return;
        };
        kept.state.apply(&message);
        kept.next = now();
        kept.delay = Duration::ZERO;
        kept.idle_at = Timestamp::MIN;
        if !kept.state.awaits_pod() {
            queue.release(&key.0, key.1);
        }
    }

    /// A command came that has to wait until its session's pod is ready, unless that is known by now.
    pub fn commanded(&self, exec: &ExecId, queue: &mut Queue) -> Option<Look> {
        let key = (exec.project.clone(), exec.session);
        match self.sessions.get(&key) {
            Some(kept) if kept.state.awaits_pod() => None,
            Some(_) => {
                queue.release(&key.0, key.1);
                None
            }
            // Not seen yet, or over.
            None => Some(look::waits(Arc::clone(&self.keep), key)),
        }
    }

    /// What is due now. `queue` knows what runs.
    pub fn due(&mut self, queue: &Queue) -> Vec<Look> {
        self.is_replayed |= self.facts.position() >= self.end || self.facts.is_caught_up();
        let now = now();
        let mut looks = Vec::new();
        if !self.is_replayed {
            return looks;
        }
        if self.reap_at <= now {
            self.reap_at = life::plus(now, REAP_INTERVAL);
            let log = self.log();
            looks.push(reap::reap(Arc::clone(&self.keep), log));
        }
        let steps = self.steps(queue, now);
        looks.extend(steps);
        self.looks += looks.len();
        looks
    }

    /// The steps that are due, those first that are so for longest.
    fn steps(&mut self, queue: &Queue, now: Timestamp) -> Vec<Look> {
        let mut due = Vec::new();
        self.sessions.retain(|key, kept| {
            if kept.is_looked_at || kept.next > now {
                return true;
            }
            let duty = life::duty(&kept.state, queue.is_busy(&key.0, key.1), now);
            match duty {
                Duty::Over => return false,
                Duty::Wait(_) => kept.idle_at = Timestamp::MIN,
                Duty::LookIdle(_) if kept.idle_at > now => {}
                Duty::Provide
                | Duty::LookIdle(_)
                | Duty::Withdraw
                | Duty::End(_)
                | Duty::Cancel
                | Duty::Discard => {
                    due.push((kept.next, key.clone(), duty));
                    return true;
                }
            }
            kept.next = life::plus(now, LOOK_INTERVAL);
            true
        });
        due.sort_by_key(|(since, ..)| *since);
        let mut looks = Vec::new();
        let log = self.log();
        for (_, key, duty) in due.into_iter().take(LOOKS_MAX.saturating_sub(self.looks)) {
            let Some(kept) = self.sessions.get_mut(&key) else {
                continue;
            };
            kept.is_looked_at = true;
            kept.delay = (kept.delay * 2).clamp(LOOK_INTERVAL, FAILED_DELAY_MAX);
            kept.next = life::plus(now, kept.delay);
            let step = look::Step {
                keep: Arc::clone(&self.keep),
                state: kept.state.clone(),
                log: log.clone(),
                open: if duty == Duty::Cancel {
                    queue.of_session(&key.0, key.1)
                } else {
                    Vec::new()
                },
            };
            looks.push(step.look(duty));
        }
        looks
    }

    /// Takes note of what was done.
    pub fn looked(&mut self, looked: Looked, queue: &mut Queue) {
        match looked {
            Looked::Session(key, done) => {
                self.looks -= 1;
                let Some(kept) = self.sessions.get_mut(&key) else {
                    return;
                };
                kept.is_looked_at = false;
                let result = if done.is_ok() { DONE } else { FAILED };
                METRICS.scheduling.keeper_steps.of([result]).inc();
                match done {
                    // It is known when to look again.
                    Ok(idle_at) if idle_at > Timestamp::MIN => {
                        kept.idle_at = idle_at;
                        kept.delay = Duration::ZERO;
                        kept.next = Timestamp::MIN;
                    }
                    Ok(idle_at) => {
                        kept.idle_at = idle_at;
                        kept.delay = kept.delay.min(UNCHANGED_DELAY_MAX);
                        kept.next = kept.next.min(life::plus(now(), kept.delay));
                    }
                    Err(reason) => {
                        tracing::warn!(session.id = %key.1, reason, "not done, will be tried again");
                    }
                }
            }
            Looked::Waits((project, session), false) => queue.release(&project, session),
            Looked::Waits(_, true) => {}
            Looked::Reaped(done) => {
                self.looks -= 1;
                if let Err(reason) = done {
                    tracing::warn!(reason, "pods without a session were not looked for");
                }
            }
        }
    }

    /// How many sessions are kept.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Up to where the stream of sessions was taken in, and which life of it this is.
    #[must_use]
    pub const fn position(&self) -> (StreamSeq, Timestamp) {
        (self.facts.position(), self.created_at)
    }

    /// What tells this log from others, in a label.
    fn log(&self) -> String {
        self.created_at.as_microsecond().to_string()
    }
}

/// Whether something can be due of a session.
fn is_kept(state: &SessionState) -> bool {
    let created = &state.created;
    state.is_provided() || created.idle_timeout_seconds.is_some() || created.expires_at.is_some()
}
