//! Templates: what a pod may be made from for a session. Written by whoever runs rdev, as one file of
//! YAML or JSON; read by gateways (which templates there are) and by executors (what to make).
//!
//! Invariant: a file that parses can be used; what is wrong names its template.

use std::collections::BTreeMap;

use rdev_contract::id::DnsLabel;
use serde::Deserialize;
use serde_json::Value;

/// All templates, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Templates(BTreeMap<DnsLabel, Template>);

/// What a pod is made from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The pod's namespace; the executor's `RDEV_NAMESPACE` if absent.
    #[serde(default)]
    pub namespace: Option<DnsLabel>,
    /// The session's `idle_timeout_seconds`, if it does not say one itself.
    #[serde(default)]
    pub idle_timeout_seconds: Option<u64>,
    /// The session's `expires_in_seconds`, if it does not say one itself.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
    /// Size of a volume that is the working directory: a Kubernetes quantity, as `10Gi`.
    #[serde(default)]
    pub workspace: Option<String>,
    /// The pod is one of a pool of kubernetes-sigs/agent-sandbox, and claimed; then there is no `pod`.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// A Kubernetes `PodTemplateSpec`; the `local` backend needs none.
    #[serde(default)]
    pub pod: Option<Value>,
}

/// Where a pod is claimed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// Name of a `SandboxWarmPool` in the namespace.
    pub warm_pool: DnsLabel,
}

/// Why a file of templates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplates {
    /// It is no mapping of names to templates.
    #[error("cannot be read as a mapping of names to templates: {0}")]
    File(String),
    /// One of them is wrong.
    #[error("template {name}: {reason}")]
    Template {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Templates {
    /// Reads a file of templates.
    ///
    /// # Errors
    /// [`InvalidTemplates`] names the template that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplates> {
        let all: BTreeMap<String, Value> = serde_saphyr::from_str(text)
            .map_err(|error| InvalidTemplates::File(error.to_string()))?;
        let mut templates = BTreeMap::new();
        for (name, value) in all {
            let invalid = |reason: String| InvalidTemplates::Template {
                name: name.clone(),
                reason,
            };
            let label = name
                .parse()
                .map_err(|error: rdev_contract::id::InvalidId| invalid(error.to_string()))?;
            let template: Template = serde_path_to_error::deserialize(value)
                .map_err(|error| invalid(error.to_string()))?;
            template.check().map_err(invalid)?;
            templates.insert(label, template);
        }
        Ok(Self(templates))
    }

    /// The template of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Template> {
        let name: DnsLabel = name.parse().ok()?;
        self.0.get(&name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&DnsLabel, &Template)> {
        self.0.iter()
    }

    /// Their names, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.0.keys().map(DnsLabel::as_str).collect();
        if names.is_empty() {
            return "there are none: set RDEV_TEMPLATES".to_owned();
        }
        format!("there are {}", names.join(", "))
    }
}

impl Template {
    /// What needs no knowledge of Kubernetes' own shapes.
    fn check(&self) -> Result<(), String> {
        let is_none = |seconds: Option<u64>| seconds == Some(0);
        if is_none(self.idle_timeout_seconds) || is_none(self.expires_in_seconds) {
            return Err("give at least 1 second, or nothing".to_owned());
        }
        if self.sandbox.is_some() && (self.pod.is_some() || self.workspace.is_some()) {
            return Err("the pod of a sandbox is described by its own template".to_owned());
        }
        if let Some(size) = &self.workspace
            && !is_quantity(size)
        {
            return Err(format!("workspace: {size:?} is no size, as 10Gi is"));
        }
        let Some(pod) = &self.pod else {
            return Ok(());
        };
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        let containers = containers.map(Vec::as_slice).unwrap_or_default();
        let has = |container: &Value, key: &str| {
            container[key].as_str().is_some_and(|text| !text.is_empty())
        };
        if containers.is_empty() {
            return Err("pod.spec.containers must have at least one".to_owned());
        }
        if containers
            .iter()
            .all(|one| has(one, "name") && has(one, "image"))
        {
            return Ok(());
        }
        Err("every one of pod.spec.containers must have a name and an image".to_owned())
    }
}

/// What may stand behind the number of a Kubernetes quantity, besides an exponent.
const SUFFIXES: [&str; 14] = [
    "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

/// Whether Kubernetes takes it for an amount of something, and more than nothing.
fn is_quantity(text: &str) -> bool {
    let is_of_number = |character: char| character.is_ascii_digit() || character == '.';
    let end = text.find(|character| !is_of_number(character));
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let exponent = suffix.strip_prefix(['e', 'E']);
    let is_exponent = exponent.is_some_and(|exponent| exponent.parse::<i16>().is_ok());
    number.parse::<f64>().is_ok_and(|number| number > 0.0)
        && (SUFFIXES.contains(&suffix) || is_exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
rust:
  description: A box with the Rust toolchain
  idle_timeout_seconds: 1800
  workspace: 10Gi
  pod:
    spec:
      containers:
        - name: main
          image: rust:1.95
empty: {}
warm: {sandbox: {warm_pool: boxes}}
";

    #[test]
    fn a_file_is_read() {
        let templates = Templates::parse(GOOD).unwrap();
        let rust = templates.get("rust").unwrap();
        assert_eq!(rust.idle_timeout_seconds, Some(1800));
        assert_eq!(rust.workspace.as_deref(), Some("10Gi"));
        assert_eq!(templates.names(), "there are empty, rust, warm");
        assert!(templates.get("go").is_none() && templates.get("../rust").is_none());
        let json = r#"{"a": {"pod": {"spec": {"containers": [{"name": "m", "image": "i"}]}}}}"#;
        assert!(Templates::parse(json).unwrap().get("a").is_some());
    }

    #[test]
    fn sizes_are_those_of_kubernetes() {
        for size in ["1", "0.5Gi", "100M", "1e9", "2E+3", "1500m", ".5Ti"] {
            assert!(is_quantity(size), "{size}");
        }
        for other in [
            "", "0", "-1Gi", "10GB", "10gi", "1 Gi", "Gi", "1.2.3", "1e", "1e+",
        ] {
            assert!(!is_quantity(other), "{other}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_template() {
        for (text, words) in [
            ("- a", "as a mapping"),
            ("a: {}\na: {}", "duplicate mapping key"),
            ("A: {}", "template A: not a"),
            (
                "a: {colour: red}",
                "template a: colour: unknown field `colour`",
            ),
            (
                "a: {sandbox: {}}",
                "template a: sandbox: missing field `warm_pool`",
            ),
            (
                "a: {workspace: lots}",
                "template a: workspace: \"lots\" is no size, as 10Gi is",
            ),
            (
                "a: {sandbox: {warm_pool: b}, workspace: 1Gi}",
                "template a: the pod of a sandbox",
            ),
            ("a: {idle_timeout_seconds: 0}", "template a: give at least"),
            (
                "a: {idle_timeout_seconds: soon}",
                "template a: idle_timeout_seconds: invalid type",
            ),
            ("a: {pod: {spec: {}}}", "template a: pod.spec.containers"),
            (
                "a: {pod: {spec: {containers: [{name: m}]}}}",
                "must have a name and an image",
            ),
        ] {
            let error = Templates::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
