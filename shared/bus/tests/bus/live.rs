//! Readers of one exec.

use rdev_bus::live::{LogReader, Next, Scope};
use rdev_bus::{Bus, LogStream, Stored};
use rdev_contract::envelope::Recorded;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::{self, Filter};
use tokio::sync::watch;

use crate::{
    Log, caught_up, complete, next_message, now, numbers, output, read_to_end, stored, within,
};

const BURST_MESSAGES: u64 = 600;
const READERS: u64 = 50;

/// Readers join at any moment of a burst, from any position, and each gets exactly what is behind
/// its position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_and_live_join_without_gap_or_repeat() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let (progress, seen) = watch::channel(writer.tail());
    let readers = (0..READERS).map(|index| {
        let (bus, exec, mut seen) = (log.bus.clone(), exec.clone(), seen.clone());
        // Spread by a multiplicative hash: the same in every run, in no order.
        let joins_at = index * 7919 % BURST_MESSAGES;
        let after = StreamSeq(if index % 3 == 0 { joins_at / 2 } else { 0 });
        tokio::spawn(async move {
            within(seen.wait_for(|tail| tail.0 >= joins_at))
                .await
                .expect("a writer");
            let mut reader = LogReader::open(&bus, Scope::Exec(exec.clone()), after)
                .await
                .expect("a reader");
            (after, read_to_end(&mut reader).await)
        })
    });
    let readers: Vec<_> = readers.collect();
    for number in 1..=BURST_MESSAGES {
        let tail = output(&mut writer, number, "line", now()).await;
        progress.send_replace(tail.expect("stored"));
    }
    let end = complete(&mut writer, BURST_MESSAGES + 1).await;
    progress.send_replace(end.expect("stored"));
    let all = stored(&log.bus, &exec).await;
    assert_eq!(all.len() as u64, BURST_MESSAGES + 2);
    for reader in readers {
        let (after, (messages, told)) = within(reader).await.expect("no panic");
        let behind = all.iter().filter(|message| message.sequence > after);
        assert!(messages.iter().eq(behind), "a reader from {after}");
        assert!(told <= 1);
    }
}

#[tokio::test]
async fn what_is_live_is_the_same_as_what_is_stored() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), writer.tail())
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    for number in 1..=3 {
        output(&mut writer, number, "line", now())
            .await
            .expect("stored");
        let live = next_message(&mut reader).await;
        let all = stored(&log.bus, &exec).await;
        assert_eq!(Some(&live), all.last());
    }
}

/// A reader that does not read for a while has missed most, and gets it from the log.
#[tokio::test]
async fn a_reader_that_stalls_misses_nothing() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), StreamSeq(0))
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    // More than its subscription holds.
    let messages = 2 * BURST_MESSAGES;
    for number in 1..=messages {
        output(&mut writer, number, "line", now())
            .await
            .expect("stored");
    }
    complete(&mut writer, messages + 1).await.expect("stored");
    let (given, _) = read_to_end(&mut reader).await;
    assert_eq!(numbers(&given), (1..=messages + 1).collect::<Vec<_>>());
}

/// The stream stops to republish for a while: what nobody was shown live is in the log.
#[tokio::test]
async fn what_the_subscription_loses_is_read_from_the_log() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), writer.tail())
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    let republish = log.republish(None).await;
    output(&mut writer, 1, "unseen", now())
        .await
        .expect("stored");
    log.republish(republish).await;
    output(&mut writer, 2, "seen", now()).await.expect("stored");
    let given = [
        next_message(&mut reader).await,
        next_message(&mut reader).await,
    ];
    assert_eq!(numbers(&given), [1, 2]);
    // The last one has no successor that would tell of it.
    log.republish(None).await;
    complete(&mut writer, 3).await.expect("stored");
    assert_eq!(numbers(&[next_message(&mut reader).await]), [3]);
}

#[tokio::test]
async fn what_is_not_in_the_log_is_not_shown() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), writer.tail())
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    let subject = Filter::live_exec(&exec).as_str().replace('>', "output");
    let client = async_nats::connect(log.server.url())
        .await
        .expect("a connection");
    client
        .publish(subject, "{\"prev\":0}".into())
        .await
        .expect("sent");
    client.flush().await.expect("flushed");
    output(&mut writer, 1, "real", now()).await.expect("stored");
    assert_eq!(numbers(&[next_message(&mut reader).await]), [1]);
}

/// Positions mean nothing in a log that was made anew: whoever has one is told.
#[tokio::test]
async fn a_log_that_was_made_anew_is_noticed() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    output(&mut writer, 1, "line", now()).await.expect("stored");
    let mut reader = LogReader::open_at_end(&log.bus, Scope::Exec(exec))
        .await
        .expect("a reader");
    let raw = log.raw().await;
    let deleted = raw.delete_stream(subject::EXEC_STREAM).await;
    deleted.expect("deleted");
    log.bus.ensure_topology().await.expect("the streams");
    loop {
        match within(reader.next()).await {
            Ok(Next::Restored) => break,
            Ok(Next::Message(message)) => panic!("{message:?} is not of this log"),
            Ok(Next::CaughtUp) | Err(_) => {}
        }
    }
}

/// Clients may listen before they post.
#[tokio::test]
async fn an_exec_that_does_not_exist_is_waited_for() {
    let log = Log::start().await;
    let exec = crate::exec_id();
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec.clone()), StreamSeq(0))
        .await
        .expect("a reader");
    assert!(matches!(within(reader.next()).await, Ok(Next::CaughtUp)));
    let submitted = log.bus.submit(&exec, &crate::command("true"), now()).await;
    submitted.expect("stored");
    let given = next_message(&mut reader).await;
    assert!(given.value.subject.ends_with(".command"));
}

/// Messages of a session's execs only name their own exec's: a lost one is found all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_read_in_the_order_of_the_log() {
    const EXECS: usize = 4;
    const ROUNDS: u64 = 120;
    let log = Log::start().await;
    let first = crate::exec_id();
    let mut writers = Vec::new();
    for index in 0..EXECS {
        let stream = format!("exec-{index}").parse().expect("a stream id");
        let exec = ExecId {
            stream,
            ..first.clone()
        };
        let submitted = log.bus.submit(&exec, &crate::command("true"), now()).await;
        submitted.expect("stored");
        let tail = crate::tail_of(&log.bus, &exec).await;
        writers.push(crate::writer(&log.bus, &exec, crate::claim(), tail));
    }
    // Another session's, in between.
    let (_, mut foreign) = log.written().await;
    let scope = Scope::Session(first.project.clone(), first.session);
    let mut reader = LogReader::open(&log.bus, scope.clone(), StreamSeq(0))
        .await
        .expect("a reader");
    let read = tokio::spawn(async move {
        let (mut messages, mut ends) = (Vec::new(), 0);
        while ends < EXECS {
            let message = next_message(&mut reader).await;
            ends += usize::from(message.value.subject.ends_with(".complete"));
            messages.push(message);
        }
        messages
    });
    let mut republish = None;
    for number in 1..=ROUNDS {
        if number % 40 == 20 {
            republish = log.republish(None).await;
        }
        if number % 40 == 30 {
            log.republish(republish.take()).await;
        }
        let lines = writers
            .iter_mut()
            .chain([&mut foreign])
            .map(|writer| output(writer, number, "line", now()));
        for stored in futures::future::join_all(lines).await {
            stored.expect("stored");
        }
    }
    // Nothing that comes later tells of the last ones.
    log.republish(None).await;
    for writer in &mut writers {
        complete(writer, ROUNDS + 1).await.expect("stored");
    }
    let messages = within(read).await.expect("no panic");
    let all = stored_of(&log.bus, &scope.stored()).await;
    assert_eq!(all.len() as u64, EXECS as u64 * (ROUNDS + 2));
    assert!(
        messages == all,
        "{} messages, not {}",
        messages.len(),
        all.len()
    );
}

async fn stored_of(bus: &Bus, filter: &Filter) -> Vec<Recorded<Stored>> {
    let mut messages: Vec<Recorded<Stored>> = Vec::new();
    loop {
        let after = messages.last().map_or(StreamSeq(0), |last| last.sequence);
        let page = bus.read_page(LogStream::Exec, filter, after).await;
        let page = page.expect("a page");
        messages.extend(page.messages);
        if !page.more {
            return messages;
        }
    }
}

/// A message may be larger than a page: the page is then that message.
#[tokio::test]
async fn a_message_larger_than_a_page_is_read() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let large = "x".repeat(600 * 1024);
    output(&mut writer, 1, "small", now())
        .await
        .expect("stored");
    output(&mut writer, 2, &large, now()).await.expect("stored");
    output(&mut writer, 3, &large, now()).await.expect("stored");
    complete(&mut writer, 4).await.expect("stored");
    let all = stored(&log.bus, &exec).await;
    assert_eq!(numbers(&all), [1, 2, 3, 4]);
    assert!(all[2].value.payload.len() > large.len());
    // The page says that there is more behind it.
    let page = log
        .bus
        .read_page(LogStream::Exec, &Filter::exec(&exec), all[1].sequence)
        .await
        .expect("a page");
    assert_eq!(numbers(&page.messages), [2]);
    assert!(page.more);
    let mut reader = LogReader::open(&log.bus, Scope::Exec(exec), StreamSeq(0))
        .await
        .expect("a reader");
    assert_eq!(read_to_end(&mut reader).await.0, all);
}

impl Log {
    /// Sets the stream's republish; gives back what it was.
    async fn republish(
        &self,
        republish: Option<async_nats::jetstream::stream::Republish>,
    ) -> Option<async_nats::jetstream::stream::Republish> {
        let raw = self.raw().await;
        let stream = raw.get_stream(subject::EXEC_STREAM).await;
        let mut config = stream.expect("a stream").cached_info().config.clone();
        let before = std::mem::replace(&mut config.republish, republish);
        raw.update_stream(config).await.expect("an update");
        before
    }
}
