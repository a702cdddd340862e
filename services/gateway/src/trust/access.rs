//! What a route needs of whoever asks for it.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use rdev_contract::id::ProjectId;
use rdev_contract::key::Scope;

use super::{Caller, Refusal};
use crate::problem::ApiError;
use crate::routes::parameter;

/// Declared by every route, in `routes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// This scope, in the project of the path.
    Project(Scope),
    /// The scope `read` in the project of the path, or a ticket for just these events.
    Feed,
    /// This scope in some project; the handler looks at which.
    Some(Scope),
}

/// The ids in a path.
pub(crate) struct Ids(RawPathParams);

impl Ids {
    /// Those of a request.
    pub(crate) async fn of(parts: &mut Parts) -> Result<Self, ApiError> {
        // Only a path that is not UTF-8 is refused here.
        let ids = RawPathParams::from_request_parts(parts, &()).await;
        ids.map(Self).map_err(|_| ApiError::NotFound("thing"))
    }

    /// The one with this name.
    pub(crate) fn get<T: std::str::FromStr>(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<T, ApiError> {
        let mut all = self.0.iter();
        all.find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .ok_or(ApiError::NotFound(what))
    }

    /// The text of one that may be absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The project.
    pub(crate) fn project(&self) -> Result<ProjectId, ApiError> {
        self.get(parameter::PROJECT, "project")
            .map_err(|_| ApiError::NoSuchProject)
    }
}

impl Access {
    const fn is_in_project(self) -> bool {
        matches!(self, Self::Project(_) | Self::Feed)
    }

    /// Whether this caller may. What is in a project of others is not there.
    pub(super) async fn check(self, caller: &Caller, parts: &mut Parts) -> Result<(), ApiError> {
        let scope = match self {
            Self::Open => return Ok(()),
            Self::Some(scope) | Self::Project(scope) => scope,
            Self::Feed => Scope::Read,
        };
        if self.is_in_project() {
            let project = Ids::of(parts).await?.project()?;
            if !caller.is_in(&project) {
                return Err(Refusal::OtherProject.into());
            }
        }
        if !caller.has(scope) {
            return Err(Refusal::Scope(scope).into());
        }
        Ok(())
    }
}
