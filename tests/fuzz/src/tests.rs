//! The short form: every target over its seeds, and over seeds that are cut, changed and put together.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{TARGETS, Target};

/// Some seconds for all of them together, unoptimised.
const CASES: u32 = 3000;

#[derive(Debug, Clone)]
enum Edit {
    Put(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    // What means something to one of the parsers.
    let telling = prop::sample::select(b"\0\n\r \"\\{}[]:,-.*>/%0129afzAZ=\x7f\xff".as_slice());
    let byte = prop_oneof![telling, any::<u8>()];
    let at = || any::<usize>();
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (at(), prop::collection::vec(byte, 1..6)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), 1..9_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (at(), 1..9_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ]
}

fn applied(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let length = bytes.len();
        let within = |at: usize| at % length.max(1);
        match edit {
            Edit::Put(at, byte) => {
                if let Some(place) = bytes.get_mut(within(*at)) {
                    *place = *byte;
                }
            }
            Edit::Insert(at, more) => {
                let at = at % (length + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = within(*at).min(length);
                bytes.drain(at..(at + count).min(length));
            }
            Edit::Repeat(at, count) => {
                let at = within(*at).min(length);
                let more = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}

fn run(target: &Target) {
    for seed in target.seeds {
        (target.run)(seed);
    }
    let seeds: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
    let changed = (
        prop::sample::select(seeds),
        prop::collection::vec(edit(), 0..8),
    )
        .prop_map(|(seed, edits)| applied(seed, &edits));
    let inputs = prop_oneof![4 => changed, 1 => prop::collection::vec(any::<u8>(), 0..200)];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    let outcome = runner.run(&inputs, |bytes| {
        (target.run)(&bytes);
        Ok(())
    });
    assert!(outcome.is_ok(), "{}: {outcome:?}", target.name);
}

#[test]
fn no_input_breaks_a_promise() {
    for target in &TARGETS {
        run(target);
    }
}

/// Each target has its program for `cargo fuzz`, and no program is without one.
#[test]
fn every_target_can_be_fuzzed() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/cargo-fuzz/fuzz_targets");
    let mut programs: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .trim_end_matches(".rs")
                    .to_owned(),
            )
        })
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.map(|target| target.name));
}
