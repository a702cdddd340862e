//! Where in a trace something belongs: W3C Trace Context, as in headers of HTTP and of messages.
//!
//! It is telemetry, and says nothing about an exec: it is in a header of the messages that begin
//! something, never in a payload, so neither the chain nor the archive knows of it. Whoever reads may
//! ignore it.

use std::fmt;
use std::str::FromStr;

/// The name of the header, in HTTP and in messages.
pub const TRACE_PARENT: &str = "traceparent";

/// The bit that says that whoever wrote this records its spans.
const SAMPLED: u8 = 1;

/// A span of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// Why a text is no place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: 00-{{32 hex digits}}-{{16 hex digits}}-{{2 hex digits}}, neither id zero"
)]
pub struct InvalidTraceParent;

impl TraceParent {
    /// This span of this trace; none if either is zero, which is no id.
    #[must_use]
    pub const fn new(trace: u128, span: u64, is_sampled: bool) -> Option<Self> {
        if trace == 0 || span == 0 {
            return None;
        }
        let flags = if is_sampled { SAMPLED } else { 0 };
        Some(Self { trace, span, flags })
    }

    /// The trace, as a number.
    #[must_use]
    pub const fn trace(self) -> u128 {
        self.trace
    }

    /// The span, as a number.
    #[must_use]
    pub const fn span(self) -> u64 {
        self.span
    }

    /// Whether whoever wrote this records its spans.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace as it is searched for: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(formatter, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Later versions may say more behind what this one knows.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.splitn(5, '-');
        let mut part = |digits: usize| {
            let part = parts.next().ok_or(InvalidTraceParent)?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if part.len() != digits || !part.bytes().all(is_hex) {
                return Err(InvalidTraceParent);
            }
            u128::from_str_radix(part, 16).map_err(|_| InvalidTraceParent)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let has_more = parts.next().is_some();
        if version == 0xff || version == 0 && has_more {
            return Err(InvalidTraceParent);
        }
        let span = u64::try_from(span).map_err(|_| InvalidTraceParent)?;
        Self::new(trace, span, flags & u128::from(SAMPLED) != 0).ok_or(InvalidTraceParent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn it_is_written_as_it_was_read() {
        let parsed: TraceParent = TEXT.parse().unwrap();
        assert_eq!(parsed.to_string(), TEXT);
        assert_eq!(parsed.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(parsed.is_sampled());
        let unsampled = TEXT.replace("-01", "-00");
        let parsed: TraceParent = unsampled.parse().unwrap();
        assert!(!parsed.is_sampled());
        assert_eq!(parsed.to_string(), unsampled);
        // Flags that are not known yet are not passed on.
        let flagged: TraceParent = TEXT.replace("-01", "-03").parse().unwrap();
        assert_eq!(flagged.to_string(), TEXT);
    }

    #[test]
    fn what_is_no_place_in_a_trace_is_refused() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        let refused = [
            "",
            "00",
            zero_trace.as_str(),
            zero_span.as_str(),
            &TEXT.replace("00-", "ff-"),
            &TEXT.to_uppercase(),
            &format!("{TEXT}-more"),
            &TEXT[..TEXT.len() - 1],
            &TEXT.replace("0af7", "0ag7"),
            &TEXT.replace("0af7", "+af7"),
        ];
        for text in refused {
            assert_eq!(
                text.parse::<TraceParent>(),
                Err(InvalidTraceParent),
                "{text}"
            );
        }
        let later = format!("{}-more", TEXT.replace("00-0", "01-0"));
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), TEXT);
    }
}
