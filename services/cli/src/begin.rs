//! How every command that speaks to a gateway begins.

use crate::api::Api;
use crate::failure::Done;
use crate::progress::Progress;
use crate::settings::{ConnectionArgs, Settings};

/// What every command needs; says what is odd about its settings.
///
/// # Errors
/// When the settings cannot be used.
pub(crate) fn begin(args: &ConnectionArgs) -> Done<(Settings, Progress, Api)> {
    let settings = Settings::read(args)?;
    let progress = Progress::new(settings.verbose);
    for warning in &settings.warnings {
        progress.note(warning);
    }
    let api = Api::new(&settings)?;
    Ok((settings, progress, api))
}
