//! Who asks, and what they may do.
//!
//! Every route says in `routes` what it needs ([`Access`]); the [`guard`] around it finds out who asks, lets
//! them in or not, and ends what they read when their rights end. Keys are in the bucket of keys, of
//! which each gateway has a [`table`] that follows it, so nothing is asked of anybody when a request comes.
//! Tokens of an issuer may be taken besides ([`oidc`]).
//!
//! Invariants: without a credential nothing but probes and schemas is answered, unless the gateway
//! listens on this machine alone and no setting forbids it; and then only what is addressed to this
//! machine, and no page of another site gives orders ([`origin`]). A credential that is wrong is
//! refused everywhere. A browser's `EventSource` has a [`ticket`] instead; how much one key may ask for
//! is counted in [`pace`].

mod access;
mod caller;
mod guard;
mod oidc;
mod origin;
mod pace;
mod proxies;
mod refusal;
mod settings;
mod table;
mod ticket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use rand::Rng;
use rdev_bus::Bus;
use rdev_bus::keys::{KeyNews, KeyWriteError};
use rdev_contract::envelope::Recorded;
use rdev_contract::key::{ApiKey, Grants, KEY_PREFIX, Projects, Scope};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cors::CorsOrigins;
use crate::problem::ApiError;
use crate::request::Peer;

pub(crate) use self::access::{Access, Ids};
pub(crate) use self::caller::Caller;
pub(crate) use self::guard::{Guard, guard};
use self::oidc::Oidc;
use self::proxies::Client;
pub(crate) use self::refusal::Refusal;
pub use self::settings::{RequireKeys, TrustArgs};
use self::table::KeyTable;
use self::ticket::{Asked, ticket_in};
pub(crate) use self::ticket::{FeedOf, Ticket};

/// How often it is looked whether all of the bucket of keys is known.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(5);
/// How often the uses of keys are written down.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries to follow keys that cannot be followed.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Whom this gateway knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trust(Arc<Inner>);

struct Inner {
    table: KeyTable,
    /// Whose tokens are taken besides.
    oidc: Option<Oidc>,
    settings: TrustArgs,
    /// Requests without a credential are answered.
    is_open: bool,
    /// Sites that may give orders where no credential is needed.
    cors: CorsOrigins,
}

impl Trust {
    /// Nobody is known yet.
    pub(crate) fn new(settings: &TrustArgs, listen: SocketAddr, cors: &CorsOrigins) -> Self {
        Self(Arc::new(Inner {
            table: KeyTable::new(settings.allowance()),
            oidc: settings
                .issuer()
                .map(|issuer| Oidc::new(issuer, settings.allowance())),
            is_open: listen.ip().is_loopback() && !settings.require_keys.everywhere,
            settings: settings.clone(),
            cors: cors.clone(),
        }))
    }

    /// For tests of what has nothing to do with it: whoever asks is let in.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        Self::new(&TrustArgs::default(), listen, &CorsOrigins::Any)
    }

    /// Knows what is in the bucket of keys now; the first gateway of all puts there what tickets are
    /// signed with.
    ///
    /// # Errors
    /// [`KeyWriteError`] when the log does not answer.
    pub(crate) async fn load(&self, bus: &Bus) -> Result<(), KeyWriteError> {
        loop {
            for entry in bus.keys().await? {
                self.learn(entry);
            }
            if self.0.table.ticket_secret().is_some() {
                return Ok(());
            }
            offer_ticket_secret(bus).await?;
        }
    }

    /// Whether nobody was ever let in, and that is to be changed: whoever has revoked all keys, or takes
    /// tokens of an issuer, wants no other.
    pub(crate) fn wants_first_key(&self) -> bool {
        let Inner {
            table,
            oidc,
            settings,
            is_open,
            ..
        } = &*self.0;
        settings.make_first_key && !is_open && oidc.is_none() && table.is_empty()
    }

    /// Says what is missing where nobody could ever be let in.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<(), String> {
        let Inner {
            table,
            oidc,
            is_open,
            ..
        } = &*self.0;
        if *is_open || oidc.is_some() || table.has_usable(Timestamp::now()) {
            return Ok(());
        }
        let reason = if listen.ip().is_loopback() {
            "RDEV_REQUIRE_KEYS is set".to_owned()
        } else {
            format!("RDEV_LISTEN is {listen}, which others can reach")
        };
        Err(format!(
            "{reason}, and there is no key: make one with `rdev keys create --name admin --scope \
             admin,exec,read --project '*'`, set RDEV_MAKE_FIRST_KEY=true to have one made and printed, \
             or listen on 127.0.0.1"
        ))
    }

    /// Takes note of what is in the bucket of keys.
    pub(crate) fn learn(&self, entry: Recorded<KeyNews>) {
        self.0.table.learn(entry);
    }

    /// The keys there are.
    pub(crate) fn keys(&self) -> &KeyTable {
        &self.0.table
    }

    /// Keeps it up to date, for ever.
    pub(crate) async fn follow(&self, bus: &Bus) {
        let oidc = async {
            if let Some(oidc) = &self.0.oidc {
                oidc.follow().await;
            }
        };
        tokio::join!(
            self.follow_keys(bus),
            self.confirm(bus),
            self.tick(bus),
            oidc
        );
    }

    async fn follow_keys(&self, bus: &Bus) {
        loop {
            match bus.follow_keys().await {
                Ok(mut log) => loop {
                    self.learn(log.next().await);
                    // Somebody has deleted it, so that no ticket is good any more.
                    if self.0.table.ticket_secret().is_none()
                        && log.is_caught_up()
                        && let Err(error) = offer_ticket_secret(bus).await
                    {
                        tracing::warn!(%error, "there is nothing to sign tickets with");
                    }
                },
                Err(error) => tracing::debug!(%error, "keys cannot be followed yet"),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// That a connection is up says nothing of what came over it: the leader is asked what is last.
    async fn confirm(&self, bus: &Bus) {
        let mut ticks = tokio::time::interval(CONFIRM_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked_at = Instant::now();
            match bus.last_key_entry().await {
                Ok(last) => self.0.table.confirm(last, asked_at),
                Err(error) => tracing::debug!(%error, "keys cannot be confirmed"),
            }
        }
    }

    async fn tick(&self, bus: &Bus) {
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !bus.is_connected() {
                continue;
            }
            for (id, last) in self.0.table.take_uses() {
                if let Err(error) = bus.note_key_use(&id, last).await {
                    tracing::debug!(key.id = %id, %error, "the use of a key is not noted");
                }
            }
        }
    }

    /// For how long a ticket can be gone on with.
    pub(crate) fn resume_within(&self) -> Duration {
        self.0.settings.ticket_resume
    }

    /// A ticket as it is put into an address.
    pub(crate) fn sign(&self, ticket: &Ticket) -> Result<String, ApiError> {
        let secret = self.0.table.ticket_secret();
        ticket.sign(&secret.ok_or(ApiError::LogUnavailable)?)
    }

    /// Who sends this.
    async fn identify(&self, parts: &mut Parts, access: Access) -> Result<Caller, ApiError> {
        let Inner {
            table,
            oidc,
            settings,
            is_open,
            cors,
        } = &*self.0;
        let peer = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
        let address = settings.trusted_proxies.client(peer, &parts.headers);
        if let Some(token) = bearer(&parts.headers)? {
            if let Some(oidc) = oidc.as_ref().filter(|_| !token.starts_with(KEY_PREFIX)) {
                return oidc.caller(token, address).await;
            }
            let key = token.parse::<ApiKey>();
            let key = key.map_err(|error| Refusal::Invalid(error.to_string()))?;
            return table.caller(&key, address, Timestamp::now());
        }
        if let Some(ticket) = ticket_in(parts) {
            return self.holder(parts, access, ticket, address).await;
        }
        if !is_open {
            return Err(Refusal::Unauthenticated.into());
        }
        origin::check(parts, cors)?;
        Ok(Caller::anonymous(address))
    }

    /// Whoever has a ticket, and may with it what they may who asked for it.
    async fn holder(
        &self,
        parts: &mut Parts,
        access: Access,
        ticket: String,
        address: Client,
    ) -> Result<Caller, ApiError> {
        if access != Access::Feed {
            let reason = "a ticket opens nothing but the events that it was made for".to_owned();
            return Err(Refusal::Invalid(reason).into());
        }
        let asked = Asked::of(parts, ticket).await?;
        let secret = self.0.table.ticket_secret();
        let secret = secret.ok_or(ApiError::LogUnavailable)?;
        let ticket = Ticket::verify(&asked.ticket, &secret)?;
        let now = Timestamp::now();
        ticket.check(&asked, now)?;
        if ticket.by.is_empty() && self.0.is_open {
            origin::check(parts, &self.0.cors)?;
            return Ok(Caller::anonymous(address));
        }
        if let Ok(id) = ticket.by.parse() {
            return self.0.table.holder(&id, &ticket.secret, address, now);
        }
        let invalid = || Refusal::Invalid("the rights behind this ticket have ended".to_owned());
        let oidc = self.0.oidc.as_ref().ok_or_else(invalid)?;
        let end = ticket.rights_until.filter(|end| *end > now);
        let grants = Grants {
            scopes: [Scope::Read].into(),
            projects: Projects::Only([ticket.feed.project].into()),
        };
        Ok(oidc.caller_of(ticket.by, address, grants, end.ok_or_else(invalid)?))
    }
}

async fn offer_ticket_secret(bus: &Bus) -> Result<(), KeyWriteError> {
    let secret: [u8; ticket::SECRET_BYTES] = rand::rng().random();
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    bus.offer_ticket_secret(&secret).await
}

/// What an `Authorization` header brings.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        Some(_) | None => Err(Refusal::Invalid(
            "the Authorization header must be: Bearer, a blank, and a key".to_owned(),
        )),
    }
}
