//! The cutter: given bytes in any chunking, when time passes or the stream ends, then the pieces.

use proptest::prelude::*;

use super::*;

const NO_TIME: Duration = Duration::ZERO;

#[derive(Debug, Default)]
struct Pieces(Vec<(Vec<u8>, bool)>);

impl Pieces {
    fn push(&mut self, piece: Piece<'_>) {
        self.0.push((piece.bytes.to_vec(), piece.partial));
    }

    fn joined(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (piece, partial) in &self.0 {
            bytes.extend_from_slice(piece);
            if !partial {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    fn take(&mut self) -> Vec<(Vec<u8>, bool)> {
        std::mem::take(&mut self.0)
    }
}

fn whole(text: &str) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), false)
}

fn partial(bytes: &[u8]) -> (Vec<u8>, bool) {
    (bytes.to_vec(), true)
}

fn feed(cutter: &mut Cutter, bytes: &[u8], now: Duration) -> Vec<(Vec<u8>, bool)> {
    let mut pieces = Pieces::default();
    cutter.feed(bytes, now, &mut |piece| pieces.push(piece));
    pieces.take()
}

fn flush(cutter: &mut Cutter, now: Duration) -> Vec<(Vec<u8>, bool)> {
    let mut pieces = Pieces::default();
    cutter.flush_due(now, &mut |piece| pieces.push(piece));
    pieces.take()
}

fn finish(cutter: &mut Cutter) -> Vec<(Vec<u8>, bool)> {
    let mut pieces = Pieces::default();
    cutter.finish(&mut |piece| pieces.push(piece));
    pieces.take()
}

#[test]
fn newlines_end_lines_and_carriage_returns_do_not() {
    let mut cutter = Cutter::new(0);
    let pieces = feed(&mut cutter, b"one\r\n\n50%\r60%\nrest", NO_TIME);
    assert_eq!(pieces, [whole("one\r"), whole(""), whole("50%\r60%")]);
    assert_eq!(cutter.released(), 14);
    assert_eq!(cutter.held_bytes(), 4);
    assert_eq!(finish(&mut cutter), [partial(b"rest")]);
    assert_eq!(cutter.released(), 18);
}

#[test]
fn a_line_in_two_chunks_is_one_line() {
    let mut cutter = Cutter::new(100);
    assert_eq!(feed(&mut cutter, b"he", NO_TIME), []);
    assert_eq!(cutter.released(), 100);
    assert_eq!(feed(&mut cutter, b"llo\n", NO_TIME), [whole("hello")]);
    assert_eq!(cutter.released(), 106);
    assert_eq!(cutter.due(), None);
}

#[test]
fn a_prompt_is_shown_after_the_wait_and_not_before() {
    let mut cutter = Cutter::new(0);
    let begin = Duration::from_secs(7);
    assert_eq!(feed(&mut cutter, b"password: ", begin), []);
    assert_eq!(cutter.due(), Some(begin + PARTIAL_WAIT));
    let just_before = begin + PARTIAL_WAIT - Duration::from_nanos(1);
    assert_eq!(flush(&mut cutter, just_before), []);
    assert_eq!(
        flush(&mut cutter, begin + PARTIAL_WAIT),
        [partial(b"password: ")]
    );
    assert_eq!(cutter.due(), None);
    assert_eq!(feed(&mut cutter, b"\n", begin), [whole("")]);
    assert_eq!(cutter.released(), 11);
}

#[test]
fn more_text_does_not_put_the_wait_off() {
    let mut cutter = Cutter::new(0);
    feed(&mut cutter, b"a", Duration::from_millis(0));
    feed(&mut cutter, b"b", Duration::from_millis(90));
    assert_eq!(flush(&mut cutter, PARTIAL_WAIT), [partial(b"ab")]);
}

#[test]
fn half_a_character_is_held_back_once() {
    let mut cutter = Cutter::new(0);
    feed(&mut cutter, b"caf\xc3", NO_TIME);
    assert_eq!(flush(&mut cutter, PARTIAL_WAIT), [partial(b"caf")]);
    assert_eq!(cutter.due(), Some(PARTIAL_WAIT * 2));
    assert_eq!(flush(&mut cutter, PARTIAL_WAIT * 2), [partial(b"\xc3")]);
    assert_eq!(cutter.due(), None);
}

#[test]
fn the_other_half_of_a_character_completes_it() {
    let mut cutter = Cutter::new(0);
    feed(&mut cutter, b"\xe2\x82", NO_TIME);
    assert_eq!(flush(&mut cutter, PARTIAL_WAIT), []);
    feed(&mut cutter, b"\xac!", PARTIAL_WAIT);
    assert_eq!(
        flush(&mut cutter, PARTIAL_WAIT * 2),
        [partial("€!".as_bytes())]
    );
}

#[test]
fn bytes_that_are_no_text_are_not_held_back() {
    let mut cutter = Cutter::new(0);
    feed(&mut cutter, b"\xff\x80", NO_TIME);
    assert_eq!(flush(&mut cutter, PARTIAL_WAIT), [partial(b"\xff\x80")]);
}

#[test]
fn lines_at_below_and_above_the_limit() {
    for (bytes, expected_pieces) in [
        (PIECE_MAX_ENCODED_BYTES - 1, 1),
        (PIECE_MAX_ENCODED_BYTES, 1),
        (PIECE_MAX_ENCODED_BYTES + 1, 2),
    ] {
        let mut line = vec![b'x'; bytes];
        line.push(b'\n');
        let mut cutter = Cutter::new(0);
        let pieces = feed(&mut cutter, &line, NO_TIME);
        assert_eq!(pieces.len(), expected_pieces, "{bytes} bytes");
        assert!(pieces.iter().rev().skip(1).all(|(_, partial)| *partial));
        assert!(pieces.last().is_some_and(|(_, partial)| !partial));
    }
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let line = "é".repeat(PIECE_MAX_ENCODED_BYTES);
    let mut cutter = Cutter::new(0);
    let mut pieces = feed(&mut cutter, b"x", NO_TIME);
    pieces.extend(feed(&mut cutter, line.as_bytes(), NO_TIME));
    assert!(pieces.len() >= 2);
    assert!(
        pieces
            .iter()
            .all(|(piece, _)| std::str::from_utf8(piece).is_ok())
    );
    assert!(cutter.held_bytes() <= PIECE_MAX_ENCODED_BYTES);
}

#[test]
fn json_text_sizes_are_those_of_the_serializer() {
    for code in 0..=0x7f_u8 {
        let text = char::from(code).to_string();
        let encoded = serde_json::to_string(&text).unwrap().len() - 2;
        assert_eq!(encoded_bytes(text.as_bytes()), encoded, "byte {code}");
    }
}

/// Bytes as commands print them: text, newlines, control characters, halves of characters.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "[a-z \"\\\\é€🎉\r]{0,12}".prop_map(String::into_bytes),
        3 => Just(b"\n".to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..6),
        1 => (0_usize..200, any::<u8>()).prop_map(|(count, byte)| vec![byte; count * 97]),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn joined_pieces_are_the_bytes(
        bytes in output(),
        chunks in prop::collection::vec((1_usize..3000, 0_u64..150), 1..30),
        from in 0_u64..1_000_000,
    ) {
        let mut cutter = Cutter::new(from);
        let mut pieces = Pieces::default();
        let mut now = Duration::ZERO;
        let mut rest = bytes.as_slice();
        for (count, pause) in chunks.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*count).min(rest.len()));
            cutter.feed(chunk, now, &mut |piece| pieces.push(piece));
            rest = after;
            now += Duration::from_millis(*pause);
            cutter.flush_due(now, &mut |piece| pieces.push(piece));
            prop_assert!(cutter.due().is_none_or(|due| due > now));
            let fed = (bytes.len() - rest.len()) as u64;
            prop_assert_eq!(cutter.released() + cutter.held_bytes() as u64, from + fed);
        }
        cutter.finish(&mut |piece| pieces.push(piece));
        prop_assert_eq!(cutter.released(), from + bytes.len() as u64);
        prop_assert_eq!(pieces.joined(), bytes);
    }

    #[test]
    fn every_piece_fits(byte in any::<u8>(), other in any::<u8>(), count in 0_usize..300_000) {
        let bytes: Vec<u8> = (0..count).map(|index| if index % 3 == 0 { other } else { byte }).collect();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(fitting_bytes(rest));
            prop_assert!(!piece.is_empty());
            prop_assert!(encoded_bytes(piece) <= PIECE_MAX_ENCODED_BYTES);
            rest = after;
        }
    }
}
