//! Somebody who was let in: what they may do, and for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rdev_contract::id::ProjectId;
use rdev_contract::key::{Grants, Projects, Scope};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Usage;
use super::proxies::Client;

/// Who asks. In the extensions of every request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// For the audit trail: the id of the key; empty without one.
    pub(crate) name: String,
    /// Which secret of the key was brought; empty without one.
    pub(super) secret: String,
    /// From where.
    pub(crate) address: Client,
    pub(super) grants: Grants,
    /// How long that lasts.
    pub(super) lease: Lease,
    /// When that is over for certain, where nobody can be asked later.
    pub(crate) end: Option<Timestamp>,
    /// What may be asked for still; nothing is counted without it.
    pub(super) usage: Option<Arc<Usage>>,
}

/// How long somebody's rights last.
#[derive(Debug, Clone, Default)]
pub(super) struct Lease {
    until: Option<Instant>,
    ended: Option<CancellationToken>,
}

impl Caller {
    /// Whoever is on this machine, where nobody needs a key.
    pub(super) fn anonymous(address: Client) -> Self {
        let grants = Grants {
            scopes: BTreeSet::from(Scope::ALL),
            projects: Projects::All,
        };
        Self::new(String::new(), address, grants)
    }

    /// Somebody whose rights last for ever, and who may ask as much as they want.
    pub(super) fn new(name: String, address: Client, grants: Grants) -> Self {
        Self {
            name,
            secret: String::new(),
            address,
            grants,
            lease: Lease::default(),
            end: None,
            usage: None,
        }
    }

    /// What they may do, and where.
    pub(crate) const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Whether they have anything to do with this project.
    pub(crate) fn is_in(&self, project: &ProjectId) -> bool {
        self.grants.projects.contain(project)
    }

    /// Whether all of these projects are among theirs.
    pub(crate) fn covers(&self, projects: &Projects) -> bool {
        self.grants.projects.cover(projects)
    }

    /// Whether they may do this in their projects.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.grants.scopes.contains(&scope)
    }
}

impl Lease {
    /// Until this time, or until the token says so.
    pub(super) fn new(until: Option<Timestamp>, ended: Option<CancellationToken>) -> Self {
        let until = until.map(|until| {
            let left = until.duration_since(Timestamp::now());
            Instant::now() + Duration::try_from(left).unwrap_or_default()
        });
        Self { until, ended }
    }

    /// Whether it can be over before the process is.
    pub(super) const fn can_end(&self) -> bool {
        self.until.is_some() || self.ended.is_some()
    }

    /// Waits for the end of the rights.
    pub(super) async fn over(self) {
        let until = async {
            match self.until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            match &self.ended {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            () = ended => {}
        }
    }
}
