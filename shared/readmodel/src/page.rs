//! Pages of a list: how many items, and from where on.
//!
//! A cursor is the last item's key, in base64url, so that clients take it as it is. It names the
//! list it was made by; another list's is refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use uuid::Uuid;

use rdev_contract::id::{SessionId, StreamId};

use crate::filter::TimeRange;

/// Items of a page where the client does not say.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// The most items of one page: bounds what a request holds in memory.
pub const PAGE_ITEMS_MAX: u32 = 200;
/// The longest key is a time, a session and a stream id; longer input is refused unread.
const CURSOR_MAX_BYTES: usize = 170;

/// The cursor was not made by this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cursor is not one of this list: give the `next_cursor` of its previous page as it was"
)]
pub struct InvalidCursor;

/// How many items a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u32);

/// No such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit must be from 1 to {PAGE_ITEMS_MAX}")]
pub struct InvalidLimit;

impl TryFrom<u32> for PageLimit {
    type Error = InvalidLimit;
    fn try_from(items: u32) -> Result<Self, InvalidLimit> {
        if (1..=PAGE_ITEMS_MAX).contains(&items) {
            Ok(Self(items))
        } else {
            Err(InvalidLimit)
        }
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(PAGE_ITEMS_DEFAULT)
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items.
    pub limit: PageLimit,
    /// `next_cursor` of the page before; absent for the first.
    pub cursor: Option<String>,
}

impl PageLimit {
    pub(crate) const fn items(self) -> usize {
        self.0 as usize
    }

    /// One more is asked for, to learn whether there is a next page.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.0) + 1
    }
}

/// The key of a list's last item. The first character of a cursor names the list.
pub(crate) trait Key: Sized {
    const LIST: char;
    /// The place before the first item.
    fn first() -> Self;
    fn write(&self, out: &mut String);
    fn read(text: &str) -> Option<Self>;

    fn cursor(&self) -> String {
        let mut text = String::from(Self::LIST);
        self.write(&mut text);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Where the page begins: behind the cursor, or at the list's beginning.
    fn of_request(request: &PageRequest) -> Result<Self, InvalidCursor> {
        let Some(cursor) = &request.cursor else {
            return Ok(Self::first());
        };
        if cursor.len() > CURSOR_MAX_BYTES {
            return Err(InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| InvalidCursor)?;
        let key = text
            .strip_prefix(Self::LIST)
            .and_then(Self::read)
            .ok_or(InvalidCursor)?;
        // One place has one spelling.
        if key.cursor() == *cursor {
            Ok(key)
        } else {
            Err(InvalidCursor)
        }
    }
}

/// Later than any time of a message, within what PostgreSQL takes.
pub(crate) const LATEST: Timestamp = Timestamp::MAX;
/// Earlier than any time of a message, within what PostgreSQL takes: the year 1.
pub(crate) const EARLIEST: Timestamp = Timestamp::constant(-62_135_596_800, 0);

fn write_time(at: Timestamp, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", at.as_microsecond());
}

fn read_time(text: &str) -> Option<Timestamp> {
    let at = Timestamp::from_microsecond(text.parse().ok()?).ok()?;
    (EARLIEST..=LATEST).contains(&at).then_some(at)
}

macro_rules! newest_first_key {
    ($(#[$doc:meta])* $name:ident, $list:literal) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        pub(crate) struct $name {
            pub(crate) created_at: Timestamp,
            pub(crate) id: Uuid,
        }

        impl $name {
            /// Not before the range's end: everything of that time and later is passed over.
            pub(crate) fn within(self, range: &TimeRange) -> Self {
                if self.created_at < range.until() {
                    return self;
                }
                Self { created_at: range.until(), id: Uuid::nil() }
            }
        }

        impl Key for $name {
            const LIST: char = $list;

            fn first() -> Self {
                Self { created_at: LATEST, id: Uuid::max() }
            }

            fn write(&self, out: &mut String) {
                write_time(self.created_at, out);
                let _ = write!(out, ".{}", self.id.as_simple());
            }

            fn read(text: &str) -> Option<Self> {
                let (at, id) = text.split_once('.')?;
                Some(Self { created_at: read_time(at)?, id: Uuid::try_parse(id).ok()? })
            }
        }
    };
}

newest_first_key!(
    /// Sessions of a project.
    SessionKey, 's'
);
newest_first_key!(
    /// Conversations of a project.
    ConversationKey, 'c'
);

/// Execs of a session, newest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExecKey {
    pub(crate) created_at: Timestamp,
    pub(crate) stream: String,
}

impl ExecKey {
    /// The same place among all execs of the project.
    pub(crate) fn of_session(self, session: SessionId) -> ProjectExecKey {
        ProjectExecKey {
            created_at: self.created_at,
            session: session.uuid(),
            stream: self.stream,
        }
    }
}

impl Key for ExecKey {
    const LIST: char = 'e';

    fn first() -> Self {
        Self {
            created_at: LATEST,
            stream: String::new(),
        }
    }

    fn write(&self, out: &mut String) {
        write_time(self.created_at, out);
        let _ = write!(out, ".{}", self.stream);
    }

    fn read(text: &str) -> Option<Self> {
        let (at, stream) = text.split_once('.')?;
        let stream: StreamId = stream.parse().ok()?;
        Some(Self {
            created_at: read_time(at)?,
            stream: stream.to_string(),
        })
    }
}

/// Execs of a project, newest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProjectExecKey {
    pub(crate) created_at: Timestamp,
    pub(crate) session: Uuid,
    pub(crate) stream: String,
}

impl ProjectExecKey {
    /// Not before the range's end: everything of that time and later is passed over.
    pub(crate) fn within(self, range: &TimeRange) -> Self {
        if self.created_at < range.until() {
            return self;
        }
        Self {
            created_at: range.until(),
            session: Uuid::nil(),
            stream: String::new(),
        }
    }

    /// The same place in the list of its session.
    pub(crate) fn in_session(self) -> ExecKey {
        ExecKey {
            created_at: self.created_at,
            stream: self.stream,
        }
    }
}

impl Key for ProjectExecKey {
    const LIST: char = 'p';

    fn first() -> Self {
        Self {
            created_at: LATEST,
            session: Uuid::max(),
            stream: String::new(),
        }
    }

    fn write(&self, out: &mut String) {
        write_time(self.created_at, out);
        let _ = write!(out, ".{}.{}", self.session.as_simple(), self.stream);
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (Some(at), Some(session), Some(stream), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let stream: StreamId = stream.parse().ok()?;
        Some(Self {
            created_at: read_time(at)?,
            session: Uuid::try_parse(session).ok()?,
            stream: stream.to_string(),
        })
    }
}

/// Messages of a conversation, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageKey {
    pub(crate) turn_at: Timestamp,
    pub(crate) stream: String,
    pub(crate) ordinal: i16,
    /// Of a tool's message; 0 for the others.
    pub(crate) step: i64,
}

impl MessageKey {
    /// The place among the messages of tools, which stand between the prompt and its answer.
    pub(crate) fn tool_step(&self) -> i64 {
        if self.ordinal > 0 {
            i64::MAX
        } else {
            self.step
        }
    }
}

impl Key for MessageKey {
    const LIST: char = 'm';

    fn first() -> Self {
        Self {
            turn_at: EARLIEST,
            stream: String::new(),
            ordinal: -1,
            step: 0,
        }
    }

    fn write(&self, out: &mut String) {
        write_time(self.turn_at, out);
        let _ = write!(out, ".{}.{}", self.stream, self.ordinal);
        if self.step != 0 {
            let _ = write!(out, ".{}", self.step);
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (Some(at), Some(stream), Some(ordinal)) = (parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let step = parts.next().map_or(Ok(0), str::parse).ok()?;
        if parts.next().is_some() {
            return None;
        }
        let stream: StreamId = stream.parse().ok()?;
        Some(Self {
            turn_at: read_time(at)?,
            stream: stream.to_string(),
            ordinal: ordinal.parse().ok()?,
            step,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cursor: &str) -> PageRequest {
        PageRequest {
            cursor: Some(cursor.to_owned()),
            ..PageRequest::default()
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let at: Timestamp = "2026-11-22T06:21:00.123456Z".parse().unwrap();
        let key = SessionKey {
            created_at: at,
            id: Uuid::from_u128(7),
        };
        assert_eq!(SessionKey::of_request(&request(&key.cursor())), Ok(key));
        let longest = "x".repeat(rdev_contract::id::STREAM_ID_MAX_BYTES);
        for step in [0, i64::MAX] {
            let key = MessageKey {
                turn_at: at,
                stream: longest.clone(),
                ordinal: 1,
                step,
            };
            assert!(key.cursor().len() <= CURSOR_MAX_BYTES);
            assert_eq!(MessageKey::of_request(&request(&key.cursor())), Ok(key));
        }
        let key = ExecKey {
            created_at: at,
            stream: "a_-Z".to_owned(),
        };
        assert_eq!(ExecKey::of_request(&request(&key.cursor())), Ok(key));
        let key = ProjectExecKey {
            created_at: at,
            session: Uuid::max(),
            stream: "x".repeat(rdev_contract::id::STREAM_ID_MAX_BYTES),
        };
        assert!(key.cursor().len() <= CURSOR_MAX_BYTES);
        assert_eq!(ProjectExecKey::of_request(&request(&key.cursor())), Ok(key));
    }

    #[test]
    fn no_cursor_is_before_the_first() {
        assert_eq!(
            SessionKey::of_request(&PageRequest::default()),
            Ok(SessionKey::first())
        );
    }

    #[test]
    fn another_lists_cursor_is_refused() {
        let key = SessionKey {
            created_at: Timestamp::UNIX_EPOCH,
            id: Uuid::from_u128(7),
        };
        assert_eq!(
            ConversationKey::of_request(&request(&key.cursor())),
            Err(InvalidCursor)
        );
    }

    #[test]
    fn what_no_list_made_is_refused() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let id = Uuid::from_u128(7).as_simple().to_string();
        let long = encode(&format!("s{}.{id}", "0".repeat(200)));
        let cases = [
            String::new(),
            "%%%".to_owned(),
            "a".repeat(8192),
            long,
            encode("s"),
            encode("s1"),
            encode(&format!("s+1.{id}")),
            encode(&format!("s01.{id}")),
            encode(&format!("s99999999999999999999999.{id}")),
            encode(&format!("s9223372036854775807.{id}")),
            encode("s1.not-an-id"),
            encode(&format!("s1.{}", Uuid::from_u128(7))),
            encode("s1.\u{FFFD}"),
        ];
        for case in cases {
            assert_eq!(
                SessionKey::of_request(&request(&case)),
                Err(InvalidCursor),
                "{case}"
            );
        }
        for case in ["e1.a.b", "e1.a/b", "e1."] {
            assert_eq!(
                ExecKey::of_request(&request(&encode(case))),
                Err(InvalidCursor),
                "{case}"
            );
        }
    }

    #[test]
    fn limits_are_tested_at_below_and_above() {
        assert_eq!(PageLimit::try_from(0), Err(InvalidLimit));
        assert_eq!(PageLimit::try_from(1).map(PageLimit::items), Ok(1));
        assert_eq!(
            PageLimit::try_from(PAGE_ITEMS_MAX).map(PageLimit::rows),
            Ok(201)
        );
        assert_eq!(PageLimit::try_from(PAGE_ITEMS_MAX + 1), Err(InvalidLimit));
    }
}
