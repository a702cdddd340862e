//! What the manifests say of pods: privileges, settings, Secrets, images, resources, their beginning and
//! their end.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Container};

use super::{Workload, all, file};

/// The gateway's `DRAIN_GRACE`; executors hand over and projectors end sooner. NATS: its lame duck.
const DRAIN_SECONDS: [(&str, i64); 4] = [
    ("rdev-gateway", 20),
    ("rdev-executor", 20),
    ("rdev-projector", 20),
    ("nats", 35),
];

/// Every workload of every rendering, with a name for messages.
fn workloads() -> Vec<(String, Workload)> {
    let named = all().iter().flat_map(|rendered| {
        let workloads = rendered.workloads().into_iter();
        workloads.map(|workload| (format!("{}: {}", rendered.name, workload.name), workload))
    });
    named.collect()
}

fn containers(workload: &Workload) -> &[Container] {
    let pod = workload.template.spec.as_ref().expect("a pod");
    assert!(pod.init_containers.is_none(), "look at these too");
    &pod.containers
}

/// What the Pod Security Standard "restricted" asks for, and a root file system that stays as it is.
#[test]
fn services_run_without_privileges() {
    for (name, workload) in workloads() {
        let pod = workload.template.spec.as_ref().expect("a pod");
        let context = pod.security_context.as_ref().expect("a security context");
        assert_eq!(context.run_as_non_root, Some(true), "{name}");
        let seccomp = context.seccomp_profile.as_ref().expect("a seccomp profile");
        assert_eq!(seccomp.type_, "RuntimeDefault", "{name}");
        assert!(!pod.host_network.unwrap_or_default(), "{name}");
        for container in containers(&workload) {
            let context = container.security_context.as_ref();
            let context = context.expect("a security context");
            assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
            assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
            let capabilities = context.capabilities.as_ref().expect("capabilities");
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]), "{name}");
            assert_eq!(capabilities.add, None, "{name}");
        }
        // Only executors speak to the API server.
        let has_token = pod.automount_service_account_token == Some(true);
        assert_eq!(has_token, workload.name == "rdev-executor", "{name}");
    }
}

#[test]
fn each_service_sees_its_own_key_alone() {
    for (name, workload) in workloads() {
        let Some(service) = workload.name.strip_prefix("rdev-") else {
            continue;
        };
        let pod = workload.template.spec.as_ref().expect("a pod");
        let volumes = pod.volumes.iter().flatten();
        let secrets = volumes.filter_map(|volume| volume.secret.as_ref());
        let keys: Vec<_> = secrets
            .filter_map(|secret| secret.secret_name.as_deref())
            .filter(|secret| secret.starts_with("rdev-nats-"))
            .collect();
        assert_eq!(keys, [format!("rdev-nats-{service}")]);
        let container = containers(&workload).first().expect("a container");
        let env = container.env.iter().flatten();
        let mut paths = env.filter(|one| one.name == "RDEV_NATS_CREDS");
        let path = paths.next().and_then(|one| one.value.clone());
        let mut mounts = container.volume_mounts.iter().flatten();
        let mount = mounts.find(|mount| mount.name == "seed");
        let mount = mount.map(|mount| format!("{}/nats.nk", mount.mount_path));
        assert_eq!(path, mount, "{name}");
        assert!(path.is_some(), "{name}");
    }
}

/// A private key is mounted where it is needed, and an authority without its key elsewhere.
#[test]
fn services_see_no_private_key_of_others() {
    for (name, workload) in workloads() {
        let pod = workload.template.spec.as_ref().expect("a pod");
        let secrets = pod
            .volumes
            .iter()
            .flatten()
            .filter_map(|one| one.secret.as_ref());
        for secret in secrets {
            let of = secret.secret_name.as_deref().unwrap_or_default();
            if of.starts_with("rdev-nats-") || workload.name == "nats" {
                continue;
            }
            let items = secret.items.iter().flatten();
            let keys: Vec<_> = items.map(|item| item.key.as_str()).collect();
            assert_eq!(keys, ["ca.crt"], "{name}: {of}");
        }
    }
}

/// Every variable in the table of settings.
fn settings() -> BTreeSet<String> {
    let table = file("docs/settings.md");
    let rows = table.lines().filter(|line| line.starts_with("| `RDEV_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`'));
    let names = names.filter(|name| name.starts_with("RDEV_"));
    names.map(str::to_owned).collect()
}

#[test]
fn every_setting_is_one() {
    let settings = settings();
    assert!(settings.contains("RDEV_NATS_URL"), "{settings:?}");
    let check = |name: &str, of: &str| {
        let is_one = !name.starts_with("RDEV_") || settings.contains(name);
        assert!(is_one, "{of}: {name} is no setting of docs/settings.md");
    };
    for (name, workload) in workloads() {
        for variable in containers(&workload)
            .iter()
            .flat_map(|one| one.env.iter().flatten())
        {
            check(&variable.name, &name);
        }
    }
    for map in all().iter().flat_map(|one| one.of_kind::<ConfigMap>()) {
        let name = map.metadata.name.unwrap_or_default();
        for key in map.data.unwrap_or_default().keys() {
            check(key, &name);
        }
    }
}

/// `$(NAME)` in a value is replaced only if NAME stands before it.
#[test]
fn values_refer_to_variables_before_them() {
    for (name, workload) in workloads() {
        for container in containers(&workload) {
            let mut before = Vec::new();
            for variable in container.env.iter().flatten() {
                let value = variable.value.as_deref().unwrap_or_default();
                for rest in value.split("$(").skip(1) {
                    let referred = rest.split(')').next().unwrap_or_default();
                    assert!(before.contains(&referred), "{name}: $({referred})");
                }
                assert!(!before.contains(&variable.name.as_str()), "{name}: twice");
                before.push(&variable.name);
            }
        }
    }
}

/// Nothing secret is in a manifest: Secrets are named, and docs/kubernetes.md says how each is made.
#[test]
fn secrets_are_named_and_told_of() {
    let told = file("docs/kubernetes.md");
    let mut named = BTreeSet::new();
    for (_, workload) in workloads() {
        let pod = workload.template.spec.as_ref().expect("a pod");
        let volumes = pod
            .volumes
            .iter()
            .flatten()
            .filter_map(|one| one.secret.clone());
        named.extend(volumes.filter_map(|secret| secret.secret_name));
        for container in containers(&workload) {
            let sources = container.env_from.iter().flatten();
            named.extend(sources.filter_map(|one| Some(one.secret_ref.as_ref()?.name.clone())));
            let variables = container.env.iter().flatten();
            let sources = variables.filter_map(|one| one.value_from.as_ref());
            let keys = sources.filter_map(|one| one.secret_key_ref.as_ref());
            named.extend(keys.map(|key| key.name.clone()));
        }
    }
    assert!(named.contains("rdev-postgres"), "{named:?}");
    let is_end = |character: char| !character.is_ascii_alphanumeric() && character != '-';
    let words: BTreeSet<_> = told.split(is_end).collect();
    for secret in named {
        // Those of the services are made in one loop, as rdev-nats-$who.
        let services = ["gateway", "executor", "projector"];
        let suffix = services.iter().find_map(|one| secret.strip_suffix(one));
        let is_told = words.contains(suffix.unwrap_or(&secret));
        assert!(
            is_told,
            "docs/kubernetes.md says nothing of the Secret {secret}"
        );
    }
}

#[test]
fn images_have_versions() {
    for (name, workload) in workloads() {
        for container in containers(&workload) {
            let image = container.image.as_deref().expect("an image");
            let last = image.rsplit('/').next().unwrap_or_default();
            let tag = last.split_once(':').map(|(_, tag)| tag);
            assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image}");
            if last.starts_with("rdev-") {
                assert_eq!(tag, Some(env!("CARGO_PKG_VERSION")), "{name}: {image}");
            }
        }
    }
}

#[test]
fn every_container_says_what_it_needs() {
    for (name, workload) in workloads() {
        for container in containers(&workload) {
            let resources = container.resources.as_ref().expect("resources");
            let requests = resources.requests.as_ref().expect("requests");
            assert!(requests.contains_key("cpu"), "{name}");
            assert!(requests.contains_key("memory"), "{name}");
            let limits = resources.limits.as_ref().expect("limits");
            assert!(limits.contains_key("memory"), "{name}");
        }
    }
}

/// Who is asked to end has the time for it, and who is to be asked whether it lives is.
#[test]
fn beginnings_and_ends_are_orderly() {
    for (name, workload) in workloads() {
        let pod = workload.template.spec.as_ref().expect("a pod");
        let grace = pod
            .termination_grace_period_seconds
            .expect("a grace period");
        let drains = DRAIN_SECONDS.iter().find(|(of, _)| *of == workload.name);
        let (_, drain) = drains.expect("say here how long it drains");
        for container in containers(&workload) {
            let before = container.lifecycle.as_ref();
            let before = before.and_then(|one| one.pre_stop.as_ref()?.sleep.as_ref());
            let before = before.map_or(0, |sleep| sleep.seconds);
            assert!(
                before + drain < grace,
                "{name}: {before} + {drain}, {grace}"
            );
            let ready = container
                .readiness_probe
                .as_ref()
                .expect("a readiness probe");
            let alive = container.liveness_probe.as_ref().expect("a liveness probe");
            // What is not ready is not killed for it.
            let path = |probe: &k8s_openapi::api::core::v1::Probe| {
                let get = probe.http_get.as_ref().expect("a GET");
                get.path.clone()
            };
            assert_ne!(path(ready), path(alive), "{name}");
        }
    }
}
