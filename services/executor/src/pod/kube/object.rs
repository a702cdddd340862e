//! A template made into the pod of a session: names and labels, the shim, the workspace, and what
//! keeps it from doing harm unless the template says otherwise. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, Pod, PodSpec, PodTemplateSpec, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rdev_domain::template::Template;
use serde_json::Value;

use super::super::provide::Owned;
use super::identity::DEFAULT_CONTAINER_ANNOTATION;

/// The project of a pod that was made.
pub(super) const PROJECT_LABEL: &str = "rdev.dev/project";
/// The session that a pod was made for.
pub(super) const SESSION_LABEL: &str = "rdev.dev/session";
/// The log that knows this session: several installations may share a namespace.
pub(super) const LOG_LABEL: &str = "rdev.dev/log";

const SHIM_VOLUME: &str = "rdev-shim";
const SHIM_DIRECTORY: &str = "/rdev-shim";
/// Where the shim is in the image that brings it.
const SHIM_IN_IMAGE: &str = "/usr/local/bin/rdev-shim";
/// Where `serve` looks for it: see [`super::shim`].
const SHIM_IN_VOLUME: &str = "/rdev-shim/bin/rdev-shim";
const WORKSPACE_VOLUME: &str = "workspace";
const WORKSPACE_DIRECTORY: &str = "/workspace";

/// What a pod is made of.
pub(super) struct Making<'a> {
    pub(super) owned: &'a Owned,
    pub(super) template: &'a Template,
    /// The label that executors ask for, if they do.
    pub(super) project_label: Option<&'a str>,
    /// The image of an init container that brings the shim; uploaded later if there is none.
    pub(super) shim_image: Option<&'a str>,
}

/// The template's own pod.
pub(super) fn spec_of(template: &Template) -> Result<PodTemplateSpec, String> {
    let value = template.pod.as_ref().ok_or("it has no pod")?;
    let spec: PodTemplateSpec =
        serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let understood = serde_json::to_value(&spec).map_err(|error| error.to_string())?;
    match unknown(value, &understood) {
        None => Ok(spec),
        Some(path) => Err(format!("pod{path} is not known to Kubernetes")),
    }
}

/// The first thing that was written and not understood: misspelt, most likely.
fn unknown(written: &Value, understood: &Value) -> Option<String> {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            written.iter().find_map(|(key, value)| {
                let inner = match understood.get(key) {
                    Some(known) => unknown(value, known)?,
                    None if value.is_null() => return None,
                    None => String::new(),
                };
                Some(format!(".{key}{inner}"))
            })
        }
        (Value::Array(written), Value::Array(understood)) => {
            let pairs = written.iter().zip(understood).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (written, understood))| {
                    unknown(written, understood).map(|inner| format!("[{index}]{inner}"))
                })
        }
        _ => None,
    }
}

impl Making<'_> {
    /// The pod.
    pub(super) fn pod(&self) -> Result<Pod, String> {
        let PodTemplateSpec { metadata, spec } = spec_of(self.template)?;
        let mut spec = spec.unwrap_or_default();
        let mut metadata = self.metadata(metadata.unwrap_or_default());
        let annotations = metadata.annotations.get_or_insert_default();
        let first = spec
            .containers
            .first()
            .map(|container| container.name.clone());
        let main = annotations
            .entry(DEFAULT_CONTAINER_ANNOTATION.to_owned())
            .or_insert_with(|| first.unwrap_or_default())
            .clone();
        let container = spec.containers.iter_mut().find(|one| one.name == main);
        let container = container.ok_or_else(|| format!("it has no container {main}"))?;
        let mut volumes = Vec::new();
        add_shim(container, &mut volumes);
        if let Some(size) = &self.template.workspace {
            add_workspace(container, size, &mut volumes);
        }
        spec.volumes.get_or_insert_default().extend(volumes);
        if let Some(image) = self.shim_image {
            let init = spec.init_containers.get_or_insert_default();
            init.insert(0, shim_container(image));
        }
        harden(&mut spec);
        Ok(Pod {
            metadata,
            spec: Some(spec),
            status: None,
        })
    }

    fn metadata(&self, template: ObjectMeta) -> ObjectMeta {
        let mut labels = template.labels.unwrap_or_default();
        labels.extend(labels_of(self.owned, self.project_label));
        ObjectMeta {
            name: Some(self.owned.name.clone()),
            labels: Some(labels),
            annotations: template.annotations,
            ..ObjectMeta::default()
        }
    }
}

/// What says whose a pod is.
pub(super) fn labels_of(owned: &Owned, project_label: Option<&str>) -> BTreeMap<String, String> {
    let project = owned.project.to_string();
    let asked_for = project_label.map(|label| (label.to_owned(), project.clone()));
    let own = [
        (PROJECT_LABEL.to_owned(), project),
        (SESSION_LABEL.to_owned(), owned.session.to_string()),
        (LOG_LABEL.to_owned(), owned.log.clone()),
    ];
    own.into_iter().chain(asked_for).collect()
}

fn add_shim(container: &mut Container, volumes: &mut Vec<Volume>) {
    volumes.push(empty_dir(SHIM_VOLUME, None));
    mount(container, SHIM_VOLUME, SHIM_DIRECTORY);
    container.env.get_or_insert_default().push(EnvVar {
        name: rdev_shim::STATE_DIRECTORY_VARIABLE.to_owned(),
        value: Some(SHIM_DIRECTORY.to_owned()),
        value_from: None,
    });
}

fn add_workspace(container: &mut Container, size: &str, volumes: &mut Vec<Volume>) {
    volumes.push(empty_dir(WORKSPACE_VOLUME, Some(size)));
    mount(container, WORKSPACE_VOLUME, WORKSPACE_DIRECTORY);
    container
        .working_dir
        .get_or_insert_with(|| WORKSPACE_DIRECTORY.to_owned());
}

fn empty_dir(name: &str, size: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: size.map(|size| Quantity(size.to_owned())),
        }),
        ..Volume::default()
    }
}

fn mount(container: &mut Container, name: &str, path: &str) {
    let mount = VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    container.volume_mounts.get_or_insert_default().push(mount);
}

/// Puts the shim into its volume.
fn shim_container(image: &str) -> Container {
    let command = ["install", "-D", "-m", "0755", SHIM_IN_IMAGE, SHIM_IN_VOLUME];
    let mut container = Container {
        name: SHIM_VOLUME.to_owned(),
        image: Some(image.to_owned()),
        command: Some(command.map(str::to_owned).to_vec()),
        ..Container::default()
    };
    mount(&mut container, SHIM_VOLUME, SHIM_DIRECTORY);
    container
}

/// What the template does not say is said strictly.
fn harden(spec: &mut PodSpec) {
    spec.automount_service_account_token.get_or_insert(false);
    let pod = spec.security_context.get_or_insert_default();
    pod.run_as_non_root.get_or_insert(true);
    pod.seccomp_profile.get_or_insert_with(|| SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    });
    let init = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init) {
        let context: &mut SecurityContext = container.security_context.get_or_insert_default();
        context.allow_privilege_escalation.get_or_insert(false);
        let capabilities = context.capabilities.get_or_insert_default();
        capabilities
            .drop
            .get_or_insert_with(|| vec!["ALL".to_owned()]);
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
