//! Orders: given one behind the other, by several at once and over cuts, and read by one who removes
//! what it has carried out.

use std::time::Duration;

use async_nats::jetstream::stream;
use rdev_bus::control::{OrderError, decode};
use rdev_bus::live::{LogReader, Next};
use rdev_bus::{Bus, ReadError};
use rdev_contract::control::{ControlMessage, Given, Order, SignalName};
use rdev_contract::envelope::Recorded;
use rdev_contract::event::Requester;
use rdev_contract::id::ExecId;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject;

use crate::cut::wired;
use crate::{Log, caught_up, exec_id, next_message, now, within};

const ORDERS: u64 = 200;
const GIVERS: u64 = 4;
const CUT_EVERY: u64 = 25;

fn order(exec: &ExecId, number: u64) -> ControlMessage {
    let given = Given {
        number,
        ..Given::default()
    };
    let signal = SignalName::Usr1;
    ControlMessage::new(
        exec,
        now(),
        Requester::default(),
        given,
        Order::Signal { signal },
    )
}

/// Gives the `number`-th order.
async fn give(bus: &Bus, exec: &ExecId, number: u64, after: StreamSeq) -> StreamSeq {
    let given = within(bus.give(exec, &order(exec, number), after)).await;
    given.expect("stored")
}

async fn next_order(reader: &mut LogReader) -> Recorded<ControlMessage> {
    decode(&next_message(reader).await).expect("an order")
}

#[tokio::test]
async fn an_order_follows_the_last_one_or_is_refused() {
    let log = Log::start().await;
    let (bus, exec) = (&log.bus, exec_id());
    assert_eq!(bus.last_order(&exec).await.expect("an answer"), None);
    let first = give(bus, &exec, 1, StreamSeq(0)).await;
    let second = give(bus, &exec, 2, first).await;
    for stale in [StreamSeq(0), first] {
        let refused = bus.give(&exec, &order(&exec, 2), stale).await;
        assert!(matches!(refused, Err(OrderError::Raced)), "{refused:?}");
    }
    let last = bus.last_order(&exec).await.expect("an answer");
    assert_eq!(last.map(|last| last.sequence), Some(second));
    let oldest = bus.oldest_order(&exec).await.expect("an answer");
    assert_eq!(oldest.map(|oldest| oldest.sequence), Some(first));
    // Another exec's orders are its own.
    assert_eq!(bus.last_order(&exec_id()).await.expect("an answer"), None);
    give(bus, &exec_id(), 1, StreamSeq(0)).await;
    give(bus, &exec, 3, second).await;
}

#[tokio::test]
async fn what_is_removed_is_gone_and_the_rest_is_read() {
    let log = Log::start().await;
    let (bus, exec) = (&log.bus, exec_id());
    let mut last = StreamSeq(0);
    let mut given = Vec::new();
    for number in 1..=5 {
        last = give(bus, &exec, number, last).await;
        given.push(last);
    }
    let others = exec_id();
    give(bus, &others, 1, StreamSeq(0)).await;
    bus.remove_orders(&exec, Some(given[3]))
        .await
        .expect("removed");
    let oldest = bus.oldest_order(&exec).await.expect("an answer");
    assert_eq!(oldest.map(|oldest| oldest.sequence), Some(given[3]));
    let mut reader = LogReader::of_orders(bus, &exec).await.expect("a reader");
    for number in [4, 5] {
        assert_eq!(next_order(&mut reader).await.value.given.number, number);
    }
    caught_up(&mut reader).await;
    // Word of each comes at once; who looked for them now and then would take a second for each.
    let began = tokio::time::Instant::now();
    for number in 6..30 {
        last = give(bus, &exec, number, last).await;
        assert_eq!(next_order(&mut reader).await.value.given.number, number);
    }
    assert!(began.elapsed() < Duration::from_secs(12));
    bus.remove_orders(&exec, None).await.expect("removed");
    assert_eq!(bus.last_order(&exec).await.expect("an answer"), None);
    // Who does not know that the exec has ended, and its orders with it, gives no more.
    let late = bus.give(&exec, &order(&exec, 30), last).await;
    assert!(matches!(late, Err(OrderError::Raced)), "{late:?}");
    assert!(bus.last_order(&others).await.expect("an answer").is_some());
}

/// A reader that was there before the first order, with removals behind it: each order once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_many_reach_their_reader_once_and_in_order() {
    let log = Log::start().await;
    let exec = exec_id();
    let (wire, wired_bus) = wired(&log).await;
    let mut reader = LogReader::of_orders(&wired_bus, &exec)
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    let (bus, removed) = (log.bus.clone(), exec.clone());
    let reading = tokio::spawn(async move {
        let mut numbers = Vec::new();
        while (numbers.len() as u64) < ORDERS {
            match within(reader.next()).await {
                Ok(Next::Message(message)) => {
                    let order = decode(&message).expect("an order");
                    numbers.push(order.value.given.number);
                    if order.value.given.number.is_multiple_of(7) {
                        let before = Some(order.sequence);
                        bus.remove_orders(&removed, before).await.expect("removed");
                    }
                }
                Ok(Next::CaughtUp) | Err(ReadError(_)) => tokio::task::yield_now().await,
                Ok(Next::Restored) => panic!("the stream is still the same"),
            }
        }
        numbers
    });
    let givers = (0..GIVERS).map(|_| give_all(wired_bus.clone(), exec.clone()));
    let cutting = async {
        let mut cut_at = CUT_EVERY;
        while cut_at < ORDERS {
            let last = log.bus.last_order(&exec).await.expect("an answer");
            if last.is_some_and(|last| last.value.given.number >= cut_at) {
                wire.cut();
                cut_at += CUT_EVERY;
            }
            tokio::task::yield_now().await;
        }
    };
    within(async { tokio::join!(futures::future::join_all(givers), cutting) }).await;
    let numbers = within(reading).await.expect("no panic");
    assert_eq!(numbers, (1..=ORDERS).collect::<Vec<_>>());
}

/// What a gateway does: look at the last order, give the next one, and begin again if somebody else
/// was faster or nobody can tell.
async fn give_all(bus: Bus, exec: ExecId) {
    loop {
        let Ok(last) = bus.last_order(&exec).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (after, number) = last.map_or((StreamSeq(0), 0), |last| {
            (last.sequence, last.value.given.number)
        });
        if number >= ORDERS {
            return;
        }
        match bus.give(&exec, &order(&exec, number + 1), after).await {
            Ok(_) | Err(OrderError::Raced) => {}
            Err(OrderError::Unavailable(_) | OrderError::Unknown(_)) => {
                tokio::task::yield_now().await;
            }
            Err(OrderError::Encoding(reason)) => panic!("{reason}"),
        }
    }
}

#[tokio::test]
async fn the_stream_of_an_earlier_version_is_given_what_orders_need() {
    let log = Log::start().await;
    let raw = log.raw().await;
    let name = subject::CONTROL_STREAM;
    let now_made = raw.get_stream(name).await.expect("a stream");
    let wanted = now_made.cached_info().config.clone();
    raw.delete_stream(name).await.expect("a stream");
    let before = stream::Config {
        allow_message_ttl: false,
        republish: None,
        ..wanted.clone()
    };
    raw.create_stream(before).await.expect("a stream");
    log.bus.ensure_topology().await.expect("grown");
    let grown = raw.get_stream(name).await.expect("a stream");
    assert_eq!(grown.cached_info().config, wanted);
    let exec = exec_id();
    let mut reader = LogReader::of_orders(&log.bus, &exec)
        .await
        .expect("a reader");
    caught_up(&mut reader).await;
    give(&log.bus, &exec, 1, StreamSeq(0)).await;
    assert_eq!(next_order(&mut reader).await.value.given.number, 1);
}
