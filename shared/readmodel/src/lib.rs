//! The read model in PostgreSQL: its tables, all SQL that touches them, and the types around it.
//!
//! The projector writes ([`Writer`], [`Change`]), the gateway reads ([`ReadModel`]); nobody else
//! speaks to PostgreSQL. The tables hold nothing that the log does not: they can be dropped and
//! folded again, and come out equal.
//!
//! Invariants: every query names the project it is for, so no row of another tenant can be
//! returned; positions move by compare-and-set in the transaction that writes the rows.

mod address;
mod change;
mod failure;
mod filter;
mod leader;
mod migrate;
mod page;
mod poison;
mod pool;
mod position;
mod read;
mod row;
mod scratch;
mod sql;
mod storable;
mod tls;
mod write;

pub use address::{InvalidPostgresUrl, PostgresUrl};
pub use change::{
    AgentAnswered, AgentBegun, AgentResult, AssistantMessage, Change, Commanded, Completed,
    ConversationHeld, FragmentAdded, MessageId, Poisoned, Resumed, RunCounted, SessionCreated,
    SessionEnded, SessionLinked, SessionPodTold, SessionWarned, Started, TokenCounts, ToolAdded,
    ToolsHeld, UserMessage,
};
pub use failure::{ReadError, WriteError};
pub use filter::{
    ConversationFilter, ExecFilter, ExecStatus, InvalidFilter, SessionFilter, SessionStatus,
    TimeRange, parse_outcome,
};
pub use leader::{Leadership, StandBy};
pub use migrate::{MigrateError, migrate};
pub use page::{
    InvalidCursor, InvalidLimit, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, PageLimit, PageRequest,
};
pub use poison::PoisonedAt;
pub use pool::Database;
pub use position::{FOLD_VERSION, Place, Position};
pub use rdev_contract::position::LogIdentity;
pub use read::ReadModel;
pub use scratch::{
    Comparison, DIFFERENCES_MAX_COUNT, Image, LogHorizon, RowDifference, Scratch, ScratchError,
    Swap, TableCount,
};
pub use write::{FragmentPart, Writer, WriterConnection};
