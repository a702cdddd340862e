//! Parts of a line: given parts as they stand in the log, then the line, or what is wrong.

use super::*;

fn part(index: u32, last: bool, text: &str) -> Fragment<'_> {
    let text = text.into();
    Fragment { index, last, text }
}

#[test]
fn parts_make_the_line() {
    let mut joiner = FragmentJoiner::default();
    assert_eq!(joiner.push(&part(0, false, "a")), Ok(None));
    assert!(joiner.is_waiting());
    assert_eq!(joiner.push(&part(1, false, "b")), Ok(None));
    assert_eq!(joiner.push(&part(2, true, "c")), Ok(Some("abc".to_owned())));
    assert!(!joiner.is_waiting());
    assert_eq!(joiner.push(&part(0, true, "d")), Ok(Some("d".to_owned())));
}

#[test]
fn a_first_part_begins_the_line_anew() {
    let mut joiner = FragmentJoiner::default();
    joiner.push(&part(0, false, "lost")).unwrap();
    assert_eq!(joiner.push(&part(0, false, "a")), Ok(None));
    assert_eq!(joiner.push(&part(1, true, "b")), Ok(Some("ab".to_owned())));
}

#[test]
fn a_missing_part_is_told_and_the_next_line_is_whole() {
    let mut joiner = FragmentJoiner::default();
    let missing = |expected, found| Err(FragmentError::OutOfOrder { expected, found });
    assert_eq!(joiner.push(&part(3, true, "x")), missing(0, 3));
    joiner.push(&part(0, false, "a")).unwrap();
    assert_eq!(joiner.push(&part(2, true, "c")), missing(1, 2));
    assert!(!joiner.is_waiting());
    assert_eq!(joiner.push(&part(0, true, "d")), Ok(Some("d".to_owned())));
}

#[test]
fn memory_is_bounded() {
    let mut joiner = FragmentJoiner::default();
    let half = "x".repeat(JOINED_MAX_BYTES / 2);
    joiner.push(&part(0, false, &half)).unwrap();
    assert_eq!(joiner.push(&part(1, false, &half)), Ok(None));
    assert_eq!(
        joiner.push(&part(2, true, "xx")),
        Err(FragmentError::TooLong)
    );
}
