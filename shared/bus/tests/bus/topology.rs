//! Streams, consumer and buckets: made once, left alone, and drift refused.

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use rdev_bus::topology::TopologyError;
use rdev_bus::{Bus, BusConfig};
use rdev_contract::subject::{self, Filter};

use crate::Log;

#[tokio::test]
async fn twice_is_fine() {
    let log = Log::start().await;
    let before = log.config_of_exec_stream().await;
    log.bus.ensure_topology().await.expect("the same again");
    assert_eq!(log.config_of_exec_stream().await, before);
}

#[tokio::test]
async fn services_that_start_at_once_agree() {
    let log = Log::start().await;
    let raw = log.raw().await;
    raw.delete_stream(subject::EXEC_STREAM)
        .await
        .expect("a stream");
    let starts = (0..8).map(|_| log.bus.ensure_topology());
    for started in futures::future::join_all(starts).await {
        started.expect("a start");
    }
}

#[tokio::test]
async fn another_size_is_refused() {
    let log = Log::start().await;
    let field = log.drift(|config| config.log_max_bytes = 1 << 30).await;
    assert_eq!(field, "max_bytes");
}

#[tokio::test]
async fn another_number_of_replicas_is_refused() {
    let log = Log::start().await;
    let field = log.drift(|config| config.replicas = 3).await;
    assert_eq!(field, "replicas");
}

#[tokio::test]
async fn a_changed_stream_is_refused() {
    let log = Log::start().await;
    log.change(|config| config.republish = None).await;
    assert_eq!(log.drift(|_| {}).await, "republish");
    assert!(log.config_of_exec_stream().await.republish.is_none());
}

#[tokio::test]
async fn a_stream_that_refuses_batches_is_refused() {
    let log = Log::start().await;
    log.change(|config| config.max_message_size = 1024).await;
    assert_eq!(log.drift(|_| {}).await, "max_msg_size");
}

#[tokio::test]
async fn another_work_queue_is_refused() {
    let log = Log::start().await;
    let raw = log.raw().await;
    let stream = raw
        .get_stream(subject::EXEC_STREAM)
        .await
        .expect("a stream");
    let name = subject::ADMITTED_CONSUMER;
    stream.delete_consumer(name).await.expect("a consumer");
    let other = pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: Filter::kind(rdev_contract::event::Kind::Complete)
            .as_str()
            .to_owned(),
        ..Default::default()
    };
    stream.create_consumer(other).await.expect("a consumer");
    assert_eq!(log.drift(|_| {}).await, "filter");
}

impl Log {
    async fn config_of_exec_stream(&self) -> stream::Config {
        let raw = self.raw().await;
        let stream = raw.get_stream(subject::EXEC_STREAM).await;
        stream.expect("a stream").cached_info().config.clone()
    }

    async fn change(&self, change: impl FnOnce(&mut stream::Config)) {
        let mut config = self.config_of_exec_stream().await;
        change(&mut config);
        let updated = self.raw().await.update_stream(config).await;
        updated.expect("an update");
    }

    /// The field over which a service with other settings stops; the stream stays as it is.
    async fn drift(&self, adjust: impl FnOnce(&mut BusConfig)) -> &'static str {
        let mut config = self.config.clone();
        adjust(&mut config);
        let before = self.config_of_exec_stream().await;
        let other = Bus::connect(config, "other").await.expect("a connection");
        let field = match other.ensure_topology().await {
            Err(TopologyError::Drift { field, .. }) => field,
            Err(TopologyError::Failed { reason, .. }) => panic!("failed: {reason}"),
            Ok(()) => panic!("accepted"),
        };
        assert_eq!(self.config_of_exec_stream().await, before);
        field
    }
}
