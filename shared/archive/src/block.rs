//! Messages become blocks, compressed each on its own, so that any of them can be read without those
//! before it. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use rdev_contract::envelope::{Message, Recorded, Stored};
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::position::{EventNo, LogIdentity, Offsets, StreamSeq};

use crate::footer::{BlockInfo, FORMAT_VERSION, Footer, Sum};
use crate::line::{self, MessageHash};

/// A block ends with the line that reaches this: what a reader of an exec holds of it at a time, as
/// much as a page of the log has.
const BLOCK_MIN_BYTES: usize = 256 * 1024;
/// What a block's lines may take of memory: more than the largest payload that a server can be told to
/// take (64 MiB), as base64.
const BLOCK_MAX_BYTES: u32 = 96 * 1024 * 1024;
/// Half a gigabyte a second, and a tenth of the bytes of most output.
const COMPRESSION_LEVEL: i32 = 3;

pub(crate) fn compress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    zstd::bulk::compress(bytes, COMPRESSION_LEVEL).map_err(|error| error.to_string())
}

/// The bytes that were compressed, if there are as many as they should be.
pub(crate) fn decompress(bytes: &[u8], length: u32) -> Result<Vec<u8>, String> {
    let capacity = usize::try_from(length).map_err(|error| error.to_string())?;
    let plain = zstd::bulk::decompress(bytes, capacity).map_err(|error| error.to_string())?;
    if plain.len() != capacity {
        return Err(format!("{} bytes, expected {capacity}", plain.len()));
    }
    Ok(plain)
}

/// The messages of a block, in their order. Nothing of it if one byte is another.
pub(crate) fn read(
    footer: &Footer,
    info: &BlockInfo,
    bytes: &[u8],
) -> Result<Vec<Recorded<Stored>>, String> {
    let wrong = |reason: &str| Err(format!("block at {}: {reason}", info.at));
    if Sum::of(bytes) != info.sha256 {
        return wrong("its hash is another");
    }
    if info.lines > BLOCK_MAX_BYTES {
        return wrong("it is too large");
    }
    let lines = match decompress(bytes, info.lines) {
        Ok(lines) => Bytes::from(lines),
        Err(reason) => return wrong(&reason),
    };
    let messages = match line::read(&lines) {
        Ok(messages) => messages,
        Err(reason) => return wrong(&reason),
    };
    let is_ascending = messages.is_sorted_by(|one, next| one.sequence < next.sequence);
    let first = messages.first().map(|message| message.sequence);
    if !is_ascending || first != Some(info.first) || messages.len() != info.messages as usize {
        return wrong("its messages are others");
    }
    let is_foreign = |message: &Recorded<Stored>| {
        rdev_contract::subject::parse_exec(&message.value.subject)
            .map_or(true, |(exec, _)| exec != footer.exec)
    };
    if messages.iter().any(is_foreign) {
        return wrong("a message of another exec");
    }
    Ok(messages)
}

/// Gathers the messages of one exec into blocks.
pub(crate) struct BlockWriter {
    exec: ExecId,
    log: LogIdentity,
    lines: Vec<u8>,
    blocks: Vec<BlockInfo>,
    /// The block that is being filled.
    open: Option<BlockInfo>,
    /// Finished blocks that nobody has taken.
    out: Vec<u8>,
    /// Where the next block begins.
    at: u64,
    hash: MessageHash,
    messages: u64,
    stored_at: Option<(Timestamp, Timestamp)>,
    kinds: BTreeMap<String, StreamSeq>,
    next: EventNo,
    to: Offsets,
}

impl BlockWriter {
    pub(crate) fn new(exec: ExecId, log: LogIdentity) -> Self {
        Self {
            exec,
            log,
            lines: Vec::new(),
            blocks: Vec::new(),
            open: None,
            out: Vec::new(),
            at: 0,
            hash: MessageHash::default(),
            messages: 0,
            stored_at: None,
            kinds: BTreeMap::new(),
            next: EventNo::FIRST,
            to: Offsets::default(),
        }
    }

    /// Takes the next message.
    pub(crate) fn push(&mut self, message: &Recorded<Stored>) -> Result<(), String> {
        let decoded = Message::decode(&message.value.payload).ok();
        let kind = message.value.subject.rsplit('.').next().unwrap_or_default();
        let is_fact = !kind.parse::<Kind>().is_ok_and(Kind::is_bulk);
        let open = self.open.get_or_insert_with(|| BlockInfo {
            at: self.at,
            length: 0,
            lines: 0,
            sha256: Sum([0; 32]),
            first: message.sequence,
            messages: 0,
            facts: false,
            event: self.next,
            before: self.to,
            continues: decoded.as_ref().is_some_and(continues_line),
        });
        open.messages += 1;
        open.facts |= is_fact;
        self.kinds.insert(kind.to_owned(), message.sequence);
        self.hash.add(message);
        self.messages += 1;
        let (began_at, _) = *self
            .stored_at
            .get_or_insert((message.value.at, message.value.at));
        self.stored_at = Some((began_at, message.value.at));
        if let Some(decoded) = &decoded {
            self.advance(decoded);
        }
        line::write(&mut self.lines, message).map_err(|error| error.to_string())?;
        if self.lines.len() >= BLOCK_MIN_BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn advance(&mut self, message: &Message<'_>) {
        if let Some(to) = message.head.to {
            self.to = self.to.max(to);
        }
        if let Some(first) = message.head.first {
            let is_part = |part: &rdev_contract::event::Fragment<'_>| !part.last;
            let whole = message
                .events
                .iter()
                .filter(|event| !event.fragment.as_ref().is_some_and(is_part));
            self.next = self.next.max(first.plus(whole.count() as u64));
        }
    }

    /// Ends the block that is being filled.
    fn close(&mut self) -> Result<(), String> {
        let Some(mut block) = self.open.take() else {
            return Ok(());
        };
        let failed = |error: std::num::TryFromIntError| error.to_string();
        let bytes = compress(&self.lines)?;
        block.lines = u32::try_from(self.lines.len()).map_err(failed)?;
        block.length = u32::try_from(bytes.len()).map_err(failed)?;
        if block.lines > BLOCK_MAX_BYTES {
            return Err(format!("message {} is too large", block.first));
        }
        block.sha256 = Sum::of(&bytes);
        self.at += u64::from(block.length);
        self.out.extend_from_slice(&bytes);
        self.lines.clear();
        self.blocks.push(block);
        Ok(())
    }

    /// Bytes of the object that nobody has taken yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes them.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// The rest of the object, and what is in it.
    pub(crate) fn finish(mut self, lacks: Vec<String>) -> Result<(Bytes, Footer), String> {
        self.close()?;
        let (began_at, ended_at) = self.stored_at.ok_or("no messages")?;
        let footer = Footer {
            archive: FORMAT_VERSION,
            exec: self.exec,
            log: self.log,
            began_at,
            ended_at,
            messages: self.messages,
            whole: lacks.is_empty(),
            lacks,
            sha256: Sum(self.hash.sum()),
            kinds: self.kinds,
            blocks: self.blocks,
        };
        self.out.extend(footer.encode(self.at)?);
        Ok((self.out.into(), footer))
    }
}

/// Whether the message begins in the middle of a line of claude's.
fn continues_line(message: &Message<'_>) -> bool {
    let part = message
        .events
        .first()
        .and_then(|event| event.fragment.as_ref());
    part.is_some_and(|part| part.index > 0)
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
