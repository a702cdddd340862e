//! `Range`, `If-Range` and `If-None-Match` (RFC 9110): which bytes are asked for, if any. Pure.
//!
//! Invariant: what is not understood is answered with the whole, as the RFC has it; only a range
//! that begins behind the end is refused.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// Which bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// All there are.
    Whole,
    /// These; at least one.
    Part(Range<u64>),
    /// None: they would begin behind the end.
    BehindEnd,
}

/// What is asked for of `total` bytes that `etag` names.
pub(super) fn select(headers: &HeaderMap, etag: Option<&str>, total: u64) -> Selection {
    let text = |name| headers.get(name).map(|value| value.to_str().ok());
    let Some(Some(range)) = text(header::RANGE) else {
        return Selection::Whole;
    };
    // A weak tag, and a date, never match: of neither the bytes are told.
    match text(header::IF_RANGE) {
        Some(condition) if condition.map(str::trim) != etag || etag.is_none() => Selection::Whole,
        Some(_) | None => parse(range, total),
    }
}

/// Whether the asker has what `etag` names.
pub(super) fn is_known(headers: &HeaderMap, etag: Option<&str>) -> bool {
    let Some(etag) = etag else {
        return false;
    };
    let lists = headers.get_all(header::IF_NONE_MATCH).iter();
    // Tags of ours hold neither commas nor blanks.
    let mut tags = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// One range of bytes. Several at once, other units and what is no range are passed over.
fn parse(text: &str, total: u64) -> Selection {
    let Some((unit, range)) = text.split_once('=') else {
        return Selection::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let part = match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => {
            if count > 0 && total == 0 {
                return Selection::Whole;
            }
            total.saturating_sub(count)..total
        }
        (Some(first), None) if last.is_empty() => first..total,
        (Some(first), Some(last)) if first <= last => first..total.min(last.saturating_add(1)),
        _ => return Selection::Whole,
    };
    if part.is_empty() {
        Selection::BehindEnd
    } else {
        Selection::Part(part)
    }
}

/// Digits; more than fit are more than any stream has.
fn number(digits: &str) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn selected(range: &str, total: u64) -> Selection {
        parse(range, total)
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_range_is_one_of_bytes() {
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=9-9", 9..10),
            ("bytes=9-", 9..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-99", 3..10),
            ("bytes=3-99999999999999999999999", 3..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("Bytes = 1-2", 1..3),
        ] {
            assert_eq!(selected(range, 10), Selection::Part(expected), "{range}");
        }
    }

    #[test]
    fn behind_the_end_there_is_nothing() {
        for range in [
            "bytes=10-",
            "bytes=10-10",
            "bytes=99999999999999999999999-",
            "bytes=-0",
        ] {
            assert_eq!(selected(range, 10), Selection::BehindEnd, "{range}");
        }
        assert_eq!(selected("bytes=0-", 0), Selection::BehindEnd);
        assert_eq!(selected("bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn what_is_no_range_is_the_whole() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=+1-3",
            "bytes=1-2,4-5",
            "bytes=1--2",
            "lines=1-2",
        ] {
            assert_eq!(selected(range, 10), Selection::Whole, "{range}");
        }
    }

    #[test]
    fn a_part_of_what_has_changed_is_the_whole() {
        for (condition, is_part) in [
            (ETAG, true),
            ("\"other\"", false),
            ("W/\"abc\"", false),
            ("Sun, 22 Nov 2026 06:21:00 GMT", false),
        ] {
            let asked = headers(&[(header::RANGE, "bytes=1-2"), (header::IF_RANGE, condition)]);
            let selection = select(&asked, Some(ETAG), 10);
            assert_eq!(selection != Selection::Whole, is_part, "{condition}");
            assert_eq!(select(&asked, None, 10), Selection::Whole);
        }
        let asked = headers(&[(header::RANGE, "bytes=1-2")]);
        assert_eq!(select(&asked, None, 10), Selection::Part(1..3));
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (list, known) in [
            (ETAG, true),
            ("*", true),
            ("\"x\", \"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\"", false),
            ("abc", false),
        ] {
            let asked = headers(&[(header::IF_NONE_MATCH, list)]);
            assert_eq!(is_known(&asked, Some(ETAG)), known, "{list}");
            assert!(!is_known(&asked, None));
        }
        assert!(!is_known(&HeaderMap::new(), Some(ETAG)));
    }
}
