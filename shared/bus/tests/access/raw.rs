//! A user of the server who tries what it likes.

use std::path::Path;

use async_nats::{Client, ConnectOptions, Event};
use rdev_bus::access::Seed;
use tokio::sync::mpsc;

use crate::within;

/// Nobody but an operator may publish or subscribe there.
const NEVER: &str = "never";
const DISCONNECTED: &str = "disconnected";

/// A connection, and what the server says about it.
pub(crate) struct Raw {
    pub(crate) client: Client,
    complaints: mpsc::UnboundedReceiver<String>,
}

impl Raw {
    pub(crate) async fn connect(url: &str, seed: &Path) -> Self {
        let text = std::fs::read_to_string(seed).expect("a file");
        let seed = Seed::find(&text).expect("a seed");
        let (complain, complaints) = mpsc::unbounded_channel();
        let client = ConnectOptions::with_nkey(seed.reveal().to_owned())
            .custom_inbox_prefix(format!("_INBOX.{}", seed.public_key()))
            .event_callback(move |event| {
                if let Event::ServerError(error) = &event {
                    let _ = complain.send(error.to_string().to_lowercase());
                }
                if matches!(event, Event::Disconnected) {
                    let _ = complain.send(DISCONNECTED.to_owned());
                }
                std::future::ready(())
            })
            .connect(url)
            .await
            .expect("a connection");
        Self { client, complaints }
    }

    /// Whether the server refuses that this user publishes there.
    pub(crate) async fn cannot_publish(&mut self, subject: &str) -> bool {
        for subject in [subject, NEVER] {
            let published = self.client.publish(subject.to_owned(), "{}".into());
            published.await.expect("a connection");
        }
        self.complained(subject).await
    }

    /// Whether the server refuses that this user subscribes there.
    pub(crate) async fn cannot_subscribe(&mut self, subject: &str) -> bool {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        let _kept = subscribed.expect("a connection");
        let published = self.client.publish(NEVER, "".into());
        published.await.expect("a connection");
        self.complained(subject).await
    }

    /// Waits until the server ends the connection.
    pub(crate) async fn disconnected(&mut self) {
        while self.complaints.recv().await.expect("a connection") != DISCONNECTED {}
    }

    /// The server takes what a connection sends one after the other.
    async fn complained(&mut self, subject: &str) -> bool {
        let (subject, never) = (
            format!("\"{}\"", subject.to_lowercase()),
            format!("\"{NEVER}\""),
        );
        let mut complained = false;
        loop {
            let complaint = within(self.complaints.recv()).await.expect("a connection");
            complained |= complaint.contains(&subject);
            if complaint.contains(&never) {
                return complained;
            }
        }
    }
}
