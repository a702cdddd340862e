//! What agents cost a project, from the read model.

use axum::Json;
use axum::extract::State;
use rdev_contract::http::ProjectUsage;
use rdev_readmodel::{ReadModel, TimeRange};

use crate::as_of::UpToDate;
use crate::filter::Wanted;
use crate::problem::ApiError;
use crate::request::InProject;

/// `GET /projects/{project}/usage`.
pub(crate) async fn of_project(
    State(read_model): State<ReadModel>,
    InProject(project): InProject,
    wanted: Wanted,
    _: UpToDate,
) -> Result<Json<ProjectUsage>, ApiError> {
    let range = wanted.range()?;
    let totals = read_model.usage(&project, None, &range).await?;
    let ever = TimeRange::default();
    Ok(Json(ProjectUsage {
        project_id: project.to_string(),
        since: Some(range.since()).filter(|since| *since != ever.since()),
        until: Some(range.until()).filter(|until| *until != ever.until()),
        totals,
    }))
}
