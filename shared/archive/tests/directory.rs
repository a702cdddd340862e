//! An archive in a directory: what is put into it comes out, and what is not whole is not there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rdev_archive::{Archive, ArchiveError, ArchiveUrl, Archived, Exported, Position};
use rdev_contract::envelope::{Recorded, Stored};
use rdev_contract::event::Kind;
use rdev_contract::id::ExecId;
use rdev_contract::position::{LogIdentity, StreamSeq};
use rdev_contract::subject::Subject;
use tempfile::TempDir;

/// More than a part of an upload, of what cannot be compressed.
const LARGE: usize = 24;
const SMALL: usize = 1;

fn exec() -> ExecId {
    ExecId {
        project: "demo".parse().unwrap(),
        session: "0192f0c1-0000-7000-8000-000000000001".parse().unwrap(),
        stream: "one".parse().unwrap(),
    }
}

fn log(second: i64) -> LogIdentity {
    LogIdentity::created_at(Timestamp::from_second(second).unwrap())
}

fn archive() -> (Archive, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = ArchiveUrl::of_directory(directory.path()).unwrap();
    (Archive::open(&url).unwrap().unwrap(), directory)
}

/// A command, so many messages with a quarter of a megabyte each, and an end.
fn messages(count: usize) -> Vec<Recorded<Stored>> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut noise = || {
        let mut bytes = Vec::with_capacity(256 * 1024);
        while bytes.len() < 256 * 1024 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes
    };
    let command = [(Kind::Command, br#"{"v":1}"#.to_vec())];
    let output: Vec<_> = (0..count).map(|_| (Kind::Output, noise())).collect();
    let end = [(Kind::Complete, br#"{"v":1,"end":true}"#.to_vec())];
    let all = command.into_iter().chain(output).chain(end);
    all.zip(0..)
        .map(|((kind, payload), index)| Recorded {
            sequence: StreamSeq(10 + 3 * index),
            value: Stored {
                subject: Subject::exec(&exec(), kind).as_str().to_owned(),
                payload: payload.into(),
                at: Timestamp::from_nanosecond(i128::from(index) * 1_001).unwrap(),
                trace: None,
            },
        })
        .collect()
}

async fn export(
    archive: &Archive,
    log: LogIdentity,
    messages: &[Recorded<Stored>],
    is_part: bool,
    lacks: &[&str],
) -> Exported {
    let last = messages.last().map_or(StreamSeq(0), |last| last.sequence);
    let mut export = archive.export(&exec(), log, last, is_part);
    for message in messages {
        export.push(message).await.unwrap();
    }
    let lacks = lacks.iter().map(|&text| text.to_owned()).collect();
    export.finish(lacks).await.unwrap()
}

async fn kept(archive: &Archive, log: LogIdentity, messages: &[Recorded<Stored>]) -> Archived {
    match export(archive, log, messages, false, &[]).await {
        Exported::Kept(archived) => archived,
        other @ (Exported::NotWhole | Exported::Nothing) => panic!("{other:?}"),
    }
}

async fn all(archived: &Archived) -> Vec<Recorded<Stored>> {
    let mut all = Vec::new();
    let mut after = StreamSeq(0);
    loop {
        let page = archived.page(after).await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        after = last.sequence;
        all.extend(page);
    }
}

/// Every file there is.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn what_is_kept_comes_out_as_it_was() {
    for count in [SMALL, LARGE] {
        let (archive, directory) = archive();
        let messages = messages(count);
        let written = kept(&archive, log(7), &messages).await;
        assert_eq!(written.footer().messages, messages.len() as u64);
        assert_eq!(files(directory.path()).len(), 1);

        let found = archive.find(&exec(), Some(log(7))).await.unwrap().unwrap();
        // The payloads are too long to be printed.
        assert!(all(&found).await == messages);
        for message in messages.iter().step_by(3) {
            let at = message.sequence;
            assert!(found.at(at).await.unwrap().as_ref() == Some(message));
            assert!(found.at(StreamSeq(at.0 + 1)).await.unwrap().is_none());
            let rest = found.page(at).await.unwrap();
            let next = messages.iter().find(|next| next.sequence > at);
            assert!(rest.first() == next);
        }
        let kinds = found.last_of_each_kind().await.unwrap();
        let expected = [&messages[0], &messages[count], &messages[count + 1]];
        assert!(kinds.iter().collect::<Vec<_>>() == expected);
        // The first block and the last one: between them is nothing but output.
        let first = found.page_of_facts(StreamSeq(0)).await.unwrap();
        let facts = found
            .page_of_facts(first.last().unwrap().sequence)
            .await
            .unwrap();
        assert!(first.first() == messages.first() && facts.last() == messages.last());
        assert!(first.len() + facts.len() <= 4);
        archive.check(found.key()).await.unwrap();
        assert!(archive.find(&exec(), Some(log(8))).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_is_not_what_it_was_begun_as_leaves_nothing() {
    for count in [SMALL, LARGE] {
        let (archive, directory) = archive();
        let messages = messages(count);
        let not_whole = export(&archive, log(7), &messages, false, &["something"]).await;
        assert!(matches!(not_whole, Exported::NotWhole), "{not_whole:?}");
        let nothing = export(&archive, log(7), &[], true, &["something"]).await;
        assert!(matches!(nothing, Exported::Nothing), "{nothing:?}");
        let mut dropped = archive.export(&exec(), log(7), StreamSeq(99), false);
        for message in &messages {
            dropped.push(message).await.unwrap();
        }
        dropped.abort().await;
        assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
        assert!(archive.find(&exec(), None).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn of_several_objects_the_best_is_read() {
    let (archive, directory) = archive();
    let messages = messages(SMALL);
    let part = export(&archive, log(7), &messages[1..], true, &["the command"]).await;
    assert!(matches!(part, Exported::Kept(_)), "{part:?}");
    let whole = kept(&archive, log(7), &messages).await;
    let newer = kept(&archive, log(8), &messages[..2]).await;

    let keys = archive.keys_of(&exec()).await.unwrap();
    assert_eq!(keys[..2], [newer.key().clone(), whole.key().clone()]);
    let newest = archive.find(&exec(), None).await.unwrap().unwrap();
    assert_eq!(newest.key(), newer.key());
    let found = archive.find(&exec(), Some(log(7))).await.unwrap().unwrap();
    assert_eq!(found.key(), whole.key());

    // To somebody else, who has not read it before.
    let url = ArchiveUrl::of_directory(directory.path()).unwrap();
    let archive = Archive::open(&url).unwrap().unwrap();
    let path = directory.path().join(whole.key().to_string());
    std::fs::write(&path, "no object").unwrap();
    let found = archive.find(&exec(), Some(log(7))).await.unwrap().unwrap();
    assert!(all(&found).await == messages[1..]);
    assert_eq!(found.footer().lacks, ["the command"]);
    std::fs::remove_file(directory.path().join(found.key().to_string())).unwrap();
    let archive = Archive::open(&url).unwrap().unwrap();
    let damaged = archive.find(&exec(), Some(log(7))).await;
    assert!(
        matches!(damaged, Err(ArchiveError::Damaged { .. })),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn a_position_is_of_one_life_of_the_log() {
    let (archive, _directory) = archive();
    assert_eq!(archive.position(log(7)).await.unwrap(), None);
    let at = Timestamp::from_second(9).unwrap();
    for sequence in [5, 4].map(StreamSeq) {
        let position = Position { sequence, at };
        archive.mark(log(7), position).await.unwrap();
        assert_eq!(archive.position(log(7)).await.unwrap(), Some(position));
    }
    assert_eq!(archive.position(log(8)).await.unwrap(), None);
}
