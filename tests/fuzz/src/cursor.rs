//! Ids of events and tokens of writes, as `Last-Event-ID` and `?as_of=` bring them.

use rdev_contract::as_of::AsOf;
use rdev_contract::cursor::Cursor;

pub(crate) const SEEDS: &[&[u8]] = &[
    b"48213-17-9f3a61c2",
    b"0-0-00000000",
    b"18446744073709551615-18446744073709551615-ffffffff",
    b"exec-48213-1795357700215624",
    b"session-7",
];

/// There is one spelling of each: what is taken is written the same again.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if let Ok(as_of) = text.parse::<AsOf>() {
        assert_eq!(as_of.to_string(), text);
    }
}
