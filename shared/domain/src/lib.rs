//! What rdev decides, without doing it: no IO, no clock, no async runtime. Time and ids come in
//! as arguments, what is to be done comes out as values.
//!
//! The files are the stations of a command: [`request`] (is it acceptable), [`session`] (may it
//! run), [`queue`] (is it its turn), [`exec`] (what is to be done with it now), [`control`] (what else
//! may be ordered of it), [`approval`] (what its agent asks), [`invocation`] (what is executed), [`run`] with [`lines`] (bytes in, numbered
//! events out), [`agent`] and [`fragment`] (what an agent said), [`conversation`] (what is kept of it),
//! [`output`] (numbered events in, the exact bytes out). [`life`] says what is due in a session's life,
//! [`template`] what a pod may be made from; [`archive`] says when it is kept beyond the
//! log, [`audit`] whether a log is what they make; [`keys`] who may ask at all.

pub mod agent;
pub mod approval;
pub mod archive;
pub mod audit;
pub mod control;
pub mod conversation;
pub mod exec;
pub mod fragment;
pub mod invocation;
pub mod keys;
pub mod life;
pub mod lines;
pub mod output;
pub mod queue;
pub mod request;
pub mod run;
pub mod screen;
pub mod session;
pub mod template;
