//! The work queue.

use std::time::Duration;

use rdev_bus::queue::{CommandQueue, Delivery};
use rdev_bus::topology::ACK_WAIT;
use tokio::time::Instant;

use crate::{Log, within};

/// Everything that a pull for so many slots brings.
async fn offers(queue: &CommandQueue, slots: usize) -> Vec<Delivery> {
    let mut offers = queue.ask(slots).await.expect("a pull");
    let mut deliveries = Vec::new();
    while let Some(delivery) = within(offers.next()).await.expect("an answer") {
        deliveries.push(delivery);
    }
    deliveries
}

/// The next command that is offered.
async fn offer(queue: &CommandQueue) -> Delivery {
    loop {
        if let Some(delivery) = offers(queue, 1).await.pop() {
            return delivery;
        }
    }
}

#[tokio::test]
async fn a_slot_gets_one_command() {
    let log = Log::start().await;
    let mut commands = Vec::new();
    for _ in 0..3 {
        commands.push(log.admitted().await);
    }
    let queue = log.bus.commands().await.expect("the queue");
    let mut taken = offers(&queue, 2).await;
    assert_eq!(taken.len(), 2);
    taken.extend(offers(&queue, 1).await);
    let sequences: Vec<_> = taken.iter().map(|delivery| delivery.sequence).collect();
    assert_eq!(sequences, commands);
    assert!(taken.iter().all(|delivery| delivery.deliveries == 1));
    let subjects = taken.iter().map(|delivery| &delivery.subject);
    assert!(subjects.into_iter().all(|text| text.ends_with(".admitted")));
}

#[tokio::test]
async fn a_command_given_back_is_offered_at_once() {
    let log = Log::start().await;
    let admitted = log.admitted().await;
    let queue = log.bus.commands().await.expect("the queue");
    let first = offer(&queue).await;
    let began = Instant::now();
    first
        .ticket
        .retry_later(Duration::ZERO)
        .await
        .expect("sent");
    let again = offer(&queue).await;
    assert!(began.elapsed() < ACK_WAIT / 2);
    assert_eq!((again.sequence, again.deliveries), (admitted, 2));
    again
        .ticket
        .retry_later(Duration::from_secs(1))
        .await
        .expect("sent");
    let third = offer(&queue).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(third.deliveries, 3);
}

/// Three commands: one is kept alive, one is done, one is left alone.
#[tokio::test]
async fn only_what_is_left_alone_is_offered_again() {
    let log = Log::start().await;
    let mut commands = Vec::new();
    for _ in 0..3 {
        commands.push(log.admitted().await);
    }
    let queue = log.bus.commands().await.expect("the queue");
    let mut taken = offers(&queue, 3).await.into_iter();
    let (kept, done) = (taken.next().expect("one"), taken.next().expect("two"));
    let left = taken.next().expect("three");
    done.ticket.done().await.expect("sent");
    let began = Instant::now();
    let keeping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < ACK_WAIT * 3 / 2 {
            ticks.tick().await;
            kept.ticket.in_progress().await.expect("sent");
        }
        Instant::now()
    });
    let again = offer(&queue).await;
    assert!(began.elapsed() >= ACK_WAIT - Duration::from_millis(200));
    assert_eq!((again.sequence, again.deliveries), (left.sequence, 2));
    again.ticket.done().await.expect("sent");
    // The one that was kept is next, and only when it is kept no more.
    let last = offer(&queue).await;
    let kept_until = keeping.await.expect("no panic");
    assert_eq!((last.sequence, last.deliveries), (commands[0], 2));
    assert!(kept_until.elapsed() + Duration::from_millis(200) >= ACK_WAIT);
    assert_eq!(left.sequence, commands[2]);
}

/// A pull that waited at a server that died is not waited for.
#[tokio::test]
async fn a_restarted_server_is_asked_again() {
    let mut log = Log::start().await;
    let queue = log.bus.commands().await.expect("the queue");
    let mut waiting = queue.ask(1).await.expect("a pull");
    log.server.kill().await;
    log.server.restart().await.expect("a server");
    let began = Instant::now();
    let nothing = within(waiting.next()).await.expect("an answer");
    assert!(nothing.is_none());
    assert!(began.elapsed() < Duration::from_secs(3));
    let admitted = log.admitted().await;
    assert_eq!(offer(&queue).await.sequence, admitted);
}

/// JetStream takes a ticket of any age: why a lease that has lapsed gives nothing back.
#[tokio::test]
async fn an_old_ticket_takes_the_command_from_whoever_has_it() {
    let log = Log::start().await;
    let admitted = log.admitted().await;
    let queue = log.bus.commands().await.expect("the queue");
    let lapsed = offer(&queue).await;
    let _held = offer(&queue).await;
    let began = Instant::now();
    let given_back = lapsed.ticket.retry_later(Duration::ZERO).await;
    given_back.expect("sent");
    let third = offer(&queue).await;
    assert!(began.elapsed() < ACK_WAIT / 2);
    assert_eq!((third.sequence, third.deliveries), (admitted, 3));
}
