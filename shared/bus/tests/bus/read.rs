//! Single messages by place.

use rdev_bus::LogStream;
use rdev_contract::event::Kind;
use rdev_contract::position::StreamSeq;
use rdev_contract::subject::Filter;

use crate::{Log, complete, now, output};

#[tokio::test]
async fn the_next_message_behind_a_place_is_found() {
    let log = Log::start().await;
    let (exec, mut writer) = log.written().await;
    let (_, mut other) = log.written().await;
    let first = output(&mut writer, 1, "one", now()).await.expect("stored");
    output(&mut other, 1, "other", now()).await.expect("stored");
    let end = complete(&mut writer, 2).await.expect("stored");
    let (of_exec, ends) = (Filter::exec(&exec), Filter::kind(Kind::Complete));
    for (filter, after, expected) in [
        (&of_exec, StreamSeq(first.0 - 1), Some(first)),
        (&of_exec, first, Some(end)),
        (&of_exec, end, None),
        (&of_exec, StreamSeq(end.0 + 1_000_000), None),
        (&ends, StreamSeq(0), Some(end)),
        (&ends, end, None),
    ] {
        let bus = &log.bus;
        let at_replica = bus.next_message(LogStream::Exec, filter, after).await;
        let at_leader = bus.next_at_leader(LogStream::Exec, filter, after).await;
        let (at_replica, at_leader) = (at_replica.expect("read"), at_leader.expect("read"));
        assert_eq!(at_replica, at_leader, "behind {after}");
        assert_eq!(
            at_leader.map(|message| message.sequence),
            expected,
            "behind {after}"
        );
    }
}
