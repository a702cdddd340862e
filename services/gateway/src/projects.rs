//! The projects that whoever asks may look into: those of their key, and for a key that is good for
//! all, those that have or had a session.

use axum::Json;
use axum::extract::State;
use rdev_contract::http::{Page, ProjectView};
use rdev_contract::id::ProjectId;
use rdev_contract::key::Projects;
use rdev_readmodel::ReadModel;
use serde::Deserialize;

use crate::problem::ApiError;
use crate::request::Options;
use crate::trust::Caller;

/// Projects on a page, where `limit` does not ask for less.
const PAGE_PROJECTS: u32 = 200;

/// Which page: `cursor` is the last name of the one before.
#[derive(Deserialize)]
pub(crate) struct ListOptions {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /projects`.
pub(crate) async fn list(
    State(read_model): State<ReadModel>,
    Options(options): Options<ListOptions>,
    caller: Caller,
) -> Result<Json<Page<ProjectView>>, ApiError> {
    let limit = options.limit.unwrap_or(PAGE_PROJECTS);
    if !(1..=PAGE_PROJECTS).contains(&limit) {
        let detail = format!("limit is 1 to {PAGE_PROJECTS}");
        return Err(ApiError::invalid("invalid_limit", detail));
    }
    let behind = match options.cursor.as_deref() {
        None | Some("") => String::new(),
        Some(name) => match name.parse::<ProjectId>() {
            Ok(project) => project.to_string(),
            Err(error) => return Err(ApiError::invalid("invalid_cursor", error.to_string())),
        },
    };
    let grants = caller.grants();
    // One more than the page has, to know whether there is another.
    let wanted = limit + 1;
    let mut names = match &grants.projects {
        Projects::All => read_model.projects(&behind, wanted.into()).await?,
        Projects::Only(projects) => {
            let names = projects.iter().map(ToString::to_string);
            let names = names.filter(|name| *name > behind);
            names.take(wanted as usize).collect()
        }
    };
    let next_cursor = if names.len() > limit as usize {
        names.truncate(limit as usize);
        names.last().cloned()
    } else {
        None
    };
    let view = |id| ProjectView {
        id,
        scopes: grants.scopes.clone(),
    };
    Ok(Json(Page {
        items: names.into_iter().map(view).collect(),
        next_cursor,
    }))
}
