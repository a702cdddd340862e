//! Values that a command gets in its environment and that nobody else gets to see.
//!
//! The log holds references; what they lead to is read at the launch and goes to the shim with it.
//! Invariant: a value is in no message, event, log line, argument or error.

use std::collections::BTreeMap;

use rdev_contract::event::SecretRef;
use rdev_contract::id::{ProjectId, SecretName};
use rdev_domain::request::ARGUMENT_MAX_BYTES;

use crate::pod::{Backend, PodError, PodIdentity, SecretValue, SecretValues};

/// The values that the references lead to, by the names of their variables.
///
/// # Errors
/// [`PodError::Refused`] says which reference leads to nothing that can be used.
pub(crate) async fn resolve(
    backend: &dyn Backend,
    project: &ProjectId,
    pod: &PodIdentity,
    wanted: &BTreeMap<String, SecretRef>,
) -> Result<BTreeMap<String, String>, PodError> {
    let mut secrets: BTreeMap<&SecretName, SecretValues> = BTreeMap::new();
    let mut values = BTreeMap::new();
    for (variable, reference) in wanted {
        let name = &reference.name;
        if !secrets.contains_key(name) {
            secrets.insert(name, backend.secret(project, pod, name).await?);
        }
        let value = secrets
            .get_mut(name)
            .and_then(|secret| secret.get(reference.key.as_str()));
        values.insert(variable.clone(), text(value, variable, reference)?);
    }
    Ok(values)
}

fn text(
    value: Option<&SecretValue>,
    variable: &str,
    reference: &SecretRef,
) -> Result<String, PodError> {
    let SecretRef { name, key } = reference;
    let refuse = |why: &str| {
        PodError::Refused(format!(
            "secret_env {variable}: the key {key} of the Secret {name} {why}"
        ))
    };
    let value = value.ok_or_else(|| refuse("does not exist"))?;
    let text = str::from_utf8(&value.0).map_err(|_| refuse("is not UTF-8"))?;
    if text.contains('\0') {
        return Err(refuse("holds a NUL character, which no environment can"));
    }
    if variable.len() + 1 + text.len() > ARGUMENT_MAX_BYTES {
        return Err(refuse("is longer than a variable may be"));
    }
    Ok(text.to_owned())
}
