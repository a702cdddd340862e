//! Streams, the work queue and buckets: made where they are missing, left alone where they are
//! as they should be, and refused where they are not. Nobody's log is changed silently.

use std::time::Duration;

use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::{consumer, kv, stream};
use async_recursion::async_recursion as boxed;
use rdev_contract::event::Kind;
use rdev_contract::subject::{self, Filter};

use crate::Bus;

/// A delivery that is neither finished nor kept alive for so long is given to another executor.
pub const ACK_WAIT: Duration = Duration::from_secs(5);
/// The server refuses the 1,001st consumer of a stream unless told a number; ours are a few per
/// replica and running replay.
const MAX_CONSUMERS: i32 = 10_000;
/// Sessions forget their activity after this long without any.
const ACTIVITY_TTL: Duration = Duration::from_secs(90 * 24 * 3600);

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The server did not do what was asked.
    #[error("cannot set up {what}: {reason}")]
    Failed {
        /// The stream, consumer or bucket.
        what: String,
        /// What the server said.
        reason: String,
    },
    /// It exists with another configuration.
    #[error(
        "{what} exists with {field} = {found}, but this service is configured for {wanted}: \
         change the setting, or update the stream deliberately with the nats tool"
    )]
    Drift {
        /// The stream or consumer.
        what: String,
        /// Which part of its configuration.
        field: &'static str,
        /// As it is.
        found: String,
        /// As it should be.
        wanted: String,
    },
}

fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> TopologyError {
    let what = what.to_owned();
    move |error| TopologyError::Failed {
        what,
        reason: error.to_string(),
    }
}

impl Bus {
    /// Makes what is missing of the log, the work queue included; for whoever works.
    ///
    /// # Errors
    /// See [`TopologyError`]. [`TopologyError::Failed`] may pass: a cluster that has just started
    /// elects its leaders first, which takes up to 10 s.
    #[boxed]
    pub async fn ensure_topology(&self) -> Result<(), TopologyError> {
        self.ensure_log().await?;
        self.ensure_work_queue().await
    }

    /// Makes what is missing of the log's streams and buckets.
    ///
    /// # Errors
    /// See [`TopologyError`], and [`Self::ensure_topology`].
    #[boxed]
    pub async fn ensure_log(&self) -> Result<(), TopologyError> {
        for wanted in [
            self.exec_stream(),
            self.session_stream(),
            self.trail_stream(),
        ] {
            self.ensure_stream(wanted).await?;
        }
        self.ensure_control_stream().await?;
        self.ensure_bucket(subject::ACTIVITY_BUCKET, ACTIVITY_TTL)
            .await?;
        self.ensure_keys().await?;
        self.ensure_bucket(subject::SCHEDULER_BUCKET, Duration::ZERO)
            .await
    }

    /// Makes the bucket of keys if it is missing: the first key is made before anything else may be
    /// there.
    ///
    /// # Errors
    /// See [`Self::ensure_topology`].
    #[boxed]
    pub async fn ensure_keys(&self) -> Result<(), TopologyError> {
        self.ensure_bucket(subject::KEYS_BUCKET, Duration::ZERO)
            .await
    }

    async fn ensure_bucket(&self, bucket: &str, max_age: Duration) -> Result<(), TopologyError> {
        let config = kv::Config {
            bucket: bucket.to_owned(),
            history: 1,
            max_age,
            num_replicas: self.config.replicas,
            ..Default::default()
        };
        self.jetstream
            .create_key_value(config)
            .await
            .map_err(failed(bucket))?;
        Ok(())
    }

    fn log_stream(&self, name: &str, subjects: &str) -> stream::Config {
        stream::Config {
            name: name.to_owned(),
            subjects: vec![subjects.to_owned()],
            retention: stream::RetentionPolicy::Limits,
            discard: stream::DiscardPolicy::New,
            storage: stream::StorageType::File,
            num_replicas: self.config.replicas,
            allow_direct: true,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: MAX_CONSUMERS,
            ..Default::default()
        }
    }

    fn exec_stream(&self) -> stream::Config {
        stream::Config {
            max_bytes: self.config.log_max_bytes,
            allow_message_ttl: true,
            republish: Some(stream::Republish {
                source: subject::LIVE_SOURCE.to_owned(),
                destination: subject::LIVE_DESTINATION.to_owned(),
                headers_only: false,
            }),
            ..self.log_stream(subject::EXEC_STREAM, subject::EXEC_SUBJECTS)
        }
    }

    fn session_stream(&self) -> stream::Config {
        self.log_stream(subject::SESSION_STREAM, subject::SESSION_SUBJECTS)
    }

    fn trail_stream(&self) -> stream::Config {
        stream::Config {
            allow_message_ttl: true,
            ..self.log_stream(subject::TRAIL_STREAM, subject::TRAIL_SUBJECTS)
        }
    }

    fn control_stream(&self) -> stream::Config {
        stream::Config {
            allow_message_ttl: true,
            republish: Some(stream::Republish {
                source: subject::CONTROL_SOURCE.to_owned(),
                destination: subject::CONTROL_DESTINATION.to_owned(),
                headers_only: true,
            }),
            ..self.log_stream(subject::CONTROL_STREAM, subject::CONTROL_SUBJECTS)
        }
    }

    /// Earlier versions made this stream and put nothing into it: it may be given what orders need.
    async fn ensure_control_stream(&self) -> Result<(), TopologyError> {
        let wanted = self.control_stream();
        let found = self
            .jetstream
            .get_or_create_stream(wanted.clone())
            .await
            .map_err(failed(subject::CONTROL_STREAM))?;
        let found = &found.cached_info().config;
        if !found.allow_message_ttl && found.republish.is_none() {
            let grown = stream::Config {
                allow_message_ttl: true,
                republish: wanted.republish.clone(),
                ..found.clone()
            };
            self.jetstream
                .update_stream(grown)
                .await
                .map_err(failed(subject::CONTROL_STREAM))?;
        }
        self.ensure_stream(wanted).await
    }

    async fn ensure_stream(&self, wanted: stream::Config) -> Result<(), TopologyError> {
        let name = wanted.name.clone();
        let found = self
            .jetstream
            .get_or_create_stream(wanted.clone())
            .await
            .map_err(failed(&name))?;
        let found = &found.cached_info().config;
        let fields = [
            field("subjects", &found.subjects, &wanted.subjects),
            field("retention", &found.retention, &wanted.retention),
            field("discard", &found.discard, &wanted.discard),
            field("storage", &found.storage, &wanted.storage),
            field("replicas", &found.num_replicas, &wanted.num_replicas),
            field("max_bytes", &found.max_bytes, &wanted.max_bytes),
            field("max_age", &found.max_age, &wanted.max_age),
            field("max_msgs", &found.max_messages, &wanted.max_messages),
            field(
                "max_msgs_per_subject",
                &found.max_messages_per_subject,
                &wanted.max_messages_per_subject,
            ),
            field(
                "max_msg_size",
                &found.max_message_size,
                &wanted.max_message_size,
            ),
            field("max_consumers", &found.max_consumers, &wanted.max_consumers),
            field("no_ack", &found.no_ack, &wanted.no_ack),
            field("allow_direct", &found.allow_direct, &wanted.allow_direct),
            field(
                "allow_msg_ttl",
                &found.allow_message_ttl,
                &wanted.allow_message_ttl,
            ),
            field("republish", &found.republish, &wanted.republish),
        ];
        refuse_drift(&format!("stream {name}"), fields)
    }

    async fn ensure_work_queue(&self) -> Result<(), TopologyError> {
        let name = subject::ADMITTED_CONSUMER;
        let wanted = consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: Filter::kind(Kind::Admitted).as_str().to_owned(),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: -1,
            ..Default::default()
        };
        let stream = self
            .jetstream
            .get_stream_no_info(subject::EXEC_STREAM)
            .await
            .map_err(failed(name))?;
        let found = stream
            .get_or_create_consumer(name, wanted.clone())
            .await
            .map_err(failed(name))?;
        let found = &found.cached_info().config;
        let fields = [
            field("filter", &found.filter_subject, &wanted.filter_subject),
            field(
                "deliver_policy",
                &found.deliver_policy,
                &wanted.deliver_policy,
            ),
            field("ack_policy", &found.ack_policy, &wanted.ack_policy),
            field("ack_wait", &found.ack_wait, &wanted.ack_wait),
            field("max_deliver", &found.max_deliver, &wanted.max_deliver),
            field(
                "max_ack_pending",
                &found.max_ack_pending,
                &wanted.max_ack_pending,
            ),
        ];
        refuse_drift(&format!("consumer {name}"), fields)
    }

    /// Ends the work queue of versions without a scheduler, if this log has it. Their executors that
    /// still run are offered nothing any more, and those that start find a consumer that is not as
    /// they want it, and refuse: two queues would give one exec to two executors that both believe
    /// to hold it.
    ///
    /// # Errors
    /// [`TopologyError::Failed`] when the server does not do it.
    #[boxed]
    pub async fn retire_former_work_queue(&self) -> Result<(), TopologyError> {
        let name = subject::FORMER_CONSUMER;
        let retired = Filter::nothing().as_str().to_owned();
        let stream = self
            .jetstream
            .get_stream_no_info(subject::EXEC_STREAM)
            .await
            .map_err(failed(name))?;
        match stream.consumer_info(name).await {
            Ok(found) if found.config.filter_subject == retired => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(name)(error)),
        }
        tracing::info!(consumer = name, "the former work queue is retired");
        // Anew, so that nothing that it has handed out comes back.
        stream.delete_consumer(name).await.map_err(failed(name))?;
        let config = consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: retired,
            deliver_policy: consumer::DeliverPolicy::New,
            ..Default::default()
        };
        stream.create_consumer(config).await.map_err(failed(name))?;
        Ok(())
    }
}

type Field = (&'static str, String, String);

fn field<T: std::fmt::Debug>(name: &'static str, found: &T, wanted: &T) -> Field {
    (name, format!("{found:?}"), format!("{wanted:?}"))
}

fn refuse_drift<const N: usize>(what: &str, fields: [Field; N]) -> Result<(), TopologyError> {
    match fields
        .into_iter()
        .find(|(_, found, wanted)| found != wanted)
    {
        None => Ok(()),
        Some((field, found, wanted)) => Err(TopologyError::Drift {
            what: what.to_owned(),
            field,
            found,
            wanted,
        }),
    }
}
