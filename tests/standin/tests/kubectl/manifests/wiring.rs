//! Whatever names something else in the manifests names something that is there.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Probe, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Rendered, Workload, all, file};

/// Pods that an overlay brings, or an operator makes: no workload of ours has their labels.
const OUTSIDE: [&str; 3] = [
    "app.kubernetes.io/name=nats",
    "app.kubernetes.io/name=postgres",
    "cnpg.io/cluster=rdev-postgres",
];

type Labels = BTreeMap<String, String>;

fn labels(workload: &Workload) -> Labels {
    let metadata = workload.template.metadata.clone();
    metadata.and_then(|one| one.labels).unwrap_or_default()
}

fn selects(wanted: &Labels, labels: &Labels) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// The workloads whose pods these labels select.
fn selected<'a>(workloads: &'a [Workload], namespace: &str, wanted: &Labels) -> Vec<&'a Workload> {
    let workloads = workloads.iter();
    workloads
        .filter(|one| one.namespace == namespace && selects(wanted, &labels(one)))
        .collect()
}

fn matched(selector: &LabelSelector) -> Labels {
    assert_eq!(selector.match_expressions, None, "look at these too");
    selector.match_labels.clone().expect("labels")
}

fn container(workload: &Workload) -> &Container {
    let pod = workload.template.spec.as_ref().expect("a pod");
    pod.containers.first().expect("a container")
}

fn has_port(container: &Container, wanted: &IntOrString) -> bool {
    let mut ports = container.ports.iter().flatten();
    ports.any(|port| match wanted {
        IntOrString::Int(number) => port.container_port == *number,
        IntOrString::String(name) => port.name.as_ref() == Some(name),
    })
}

#[test]
fn selectors_find_the_pods_they_mean() {
    for rendered in all() {
        let workloads = rendered.workloads();
        for workload in &workloads {
            let name = format!("{}: {}", rendered.name, workload.name);
            let found = selected(
                &workloads,
                &workload.namespace,
                &matched(&workload.selector),
            );
            let found: Vec<_> = found.iter().map(|one| &one.name).collect();
            assert_eq!(found, [&workload.name], "{name}");
            let pod = workload.template.spec.as_ref().expect("a pod");
            let spreads = pod.topology_spread_constraints.as_ref();
            let spreads = spreads.expect("its pods are spread");
            let apart = pod
                .affinity
                .iter()
                .filter_map(|one| one.pod_anti_affinity.as_ref());
            let apart = apart.flat_map(|one| {
                let required = &one.required_during_scheduling_ignored_during_execution;
                required.iter().flatten().map(|term| &term.label_selector)
            });
            for selector in spreads.iter().map(|one| &one.label_selector).chain(apart) {
                let selector = selector.as_ref().expect("a selector");
                assert!(selects(&matched(selector), &labels(workload)), "{name}");
            }
        }
    }
}

/// Each workload has one budget, which lets one pod go and no more.
#[test]
fn each_workload_has_a_budget() {
    for rendered in all() {
        let workloads = rendered.workloads();
        let budgets = rendered.of_kind::<PodDisruptionBudget>().into_iter();
        let mut covered: Vec<String> = budgets
            .flat_map(|budget| {
                let spec = budget.spec.expect("a spec");
                assert_eq!(spec.max_unavailable, Some(IntOrString::Int(1)));
                let namespace = budget.metadata.namespace.expect("a namespace");
                let selector = matched(&spec.selector.expect("a selector"));
                let found = selected(&workloads, &namespace, &selector);
                found.iter().map(|one| one.name.clone()).collect::<Vec<_>>()
            })
            .collect();
        covered.sort();
        let mut names: Vec<_> = workloads.iter().map(|one| one.name.clone()).collect();
        names.sort();
        assert_eq!(covered, names, "{}", rendered.name);
    }
}

#[test]
fn services_lead_to_ports_of_pods() {
    for rendered in all() {
        let workloads = rendered.workloads();
        for service in rendered.of_kind::<Service>() {
            let name = service.metadata.name.expect("a name");
            let namespace = service.metadata.namespace.expect("a namespace");
            let spec = service.spec.expect("a spec");
            let found = selected(&workloads, &namespace, &spec.selector.expect("a selector"));
            let [workload] = found.as_slice() else {
                panic!("{name} selects {} workloads", found.len());
            };
            for port in spec.ports.iter().flatten() {
                let target = port.target_port.as_ref().expect("a target");
                assert!(has_port(container(workload), target), "{name}: {target:?}");
            }
        }
        for set in rendered.of_kind::<StatefulSet>() {
            let governing = set
                .spec
                .and_then(|spec| spec.service_name)
                .expect("a service");
            let services = rendered.of_kind::<Service>();
            let found = services
                .iter()
                .find(|one| one.metadata.name.as_ref() == Some(&governing));
            let spec = found
                .and_then(|one| one.spec.as_ref())
                .expect("the service");
            assert_eq!(spec.cluster_ip.as_deref(), Some("None"), "{governing}");
        }
    }
}

#[test]
fn probes_and_policies_name_ports_of_pods() {
    for rendered in all() {
        let workloads = rendered.workloads();
        for workload in &workloads {
            let container = container(workload);
            let probes = [
                &container.startup_probe,
                &container.readiness_probe,
                &container.liveness_probe,
            ];
            for probe in probes.into_iter().flatten() {
                assert!(has_port(container, &port_of(probe)), "{}", workload.name);
            }
        }
        for policy in rendered.of_kind::<NetworkPolicy>() {
            let name = policy.metadata.name.expect("a name");
            let namespace = policy.metadata.namespace.expect("a namespace");
            let spec = policy.spec.expect("a spec");
            let selector = spec.pod_selector.and_then(|one| one.match_labels);
            let Some(wanted) = selector else { continue };
            let found = selected(&workloads, &namespace, &wanted);
            let text: Vec<_> = wanted
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let is_outside = OUTSIDE.contains(&text.join(",").as_str());
            assert!(is_outside || !found.is_empty(), "{name} selects nothing");
            for rule in spec.ingress.iter().flatten() {
                for port in rule
                    .ports
                    .iter()
                    .flatten()
                    .filter_map(|one| one.port.as_ref())
                {
                    for workload in &found {
                        let has = has_port(container(workload), port);
                        assert!(has, "{name}: {} has no port {port:?}", workload.name);
                    }
                }
            }
        }
    }
}

fn port_of(probe: &Probe) -> IntOrString {
    probe.http_get.as_ref().expect("a GET").port.clone()
}

/// An autoscaler has a workload that leaves its number to it, and metrics that the adapter is told of.
#[test]
fn autoscalers_have_what_they_need() {
    let rules = file("deploy/kubernetes/components/autoscaling/adapter-rules.yaml");
    let rules: Value = serde_saphyr::from_str(&rules).expect("YAML");
    let names = |key: &str| -> Vec<String> {
        let rules = rules[key].as_array().into_iter().flatten();
        let names = rules.filter_map(|rule| rule["name"]["as"].as_str());
        names.map(str::to_owned).collect()
    };
    for rendered in all() {
        let workloads = rendered.workloads();
        for scaler in rendered.of_kind::<HorizontalPodAutoscaler>() {
            let spec = scaler.spec.expect("a spec");
            let target = spec.scale_target_ref;
            let workload = workloads.iter().find(|one| one.name == target.name);
            let workload = workload.expect("a target");
            assert_eq!(workload.kind, target.kind);
            assert_eq!(workload.replicas, None, "{} is scaled by two", target.name);
            assert!(spec.min_replicas >= Some(2), "one to take over");
            for metric in spec.metrics.into_iter().flatten() {
                let (rules, name) = match (metric.pods, metric.external) {
                    (Some(pods), None) => ("rules", pods.metric.name),
                    (None, Some(external)) => ("externalRules", external.metric.name),
                    (_, _) => continue,
                };
                assert!(
                    names(rules).contains(&name),
                    "{rules} say nothing of {name}"
                );
            }
        }
        let scaled = rendered.of_kind::<HorizontalPodAutoscaler>().len();
        let open = workloads.iter().filter(|one| one.replicas.is_none());
        assert_eq!(open.count(), scaled, "{}", rendered.name);
    }
}

/// An Ingress and a route lead to a port of a Service that is there.
#[test]
fn ways_in_lead_somewhere() {
    for rendered in all() {
        let services = rendered.of_kind::<Service>();
        let has = |name: &str, wanted: &Value| {
            let service = services
                .iter()
                .find(|one| one.metadata.name.as_deref() == Some(name));
            let spec = service
                .and_then(|one| one.spec.as_ref())
                .expect("a service");
            let mut ports = spec.ports.iter().flatten();
            ports.any(|port| match wanted.as_str() {
                Some(wanted) => port.name.as_deref() == Some(wanted),
                None => wanted.as_i64() == Some(i64::from(port.port)),
            })
        };
        for ingress in rendered.of_kind::<Ingress>() {
            let rules = ingress.spec.and_then(|spec| spec.rules).expect("rules");
            for path in rules
                .iter()
                .flat_map(|rule| rule.http.iter().flat_map(|http| &http.paths))
            {
                let backend = path.backend.service.as_ref().expect("a service");
                let port = backend.port.as_ref().and_then(|port| port.name.clone());
                assert!(has(&backend.name, &Value::from(port)), "{}", backend.name);
            }
        }
        let routes = rendered
            .documents
            .iter()
            .filter(|one| one["kind"] == "HTTPRoute");
        for rule in routes.flat_map(|route| route["spec"]["rules"].as_array().into_iter().flatten())
        {
            for backend in rule["backendRefs"].as_array().expect("backends") {
                let name = backend["name"].as_str().expect("a name");
                assert!(has(name, &backend["port"]), "{name}");
            }
        }
    }
}

/// ConfigMaps and service accounts that pods name are there.
#[test]
fn pods_find_what_they_are_given() {
    for rendered in all() {
        let maps: Vec<_> = names(&rendered.of_kind::<ConfigMap>(), |one| &one.metadata);
        let accounts = names(&rendered.of_kind::<ServiceAccount>(), |one| &one.metadata);
        for workload in rendered.workloads() {
            let pod = workload.template.spec.as_ref().expect("a pod");
            let volumes = pod.volumes.iter().flatten();
            let mounted = volumes.clone().filter_map(|one| one.config_map.as_ref());
            let sources = container(&workload).env_from.iter().flatten();
            let read = sources.filter_map(|one| one.config_map_ref.as_ref());
            let wanted = mounted
                .map(|one| &one.name)
                .chain(read.map(|one| &one.name));
            for name in wanted {
                assert!(maps.contains(name), "{}: {name}", rendered.name);
            }
            for account in pod.service_account_name.iter() {
                assert!(accounts.contains(account), "{account}");
            }
            let claims = rendered.of_kind::<StatefulSet>().into_iter();
            let claims = claims.flat_map(|set| set.spec.expect("a spec").volume_claim_templates);
            let claims = names(&claims.flatten().collect::<Vec<_>>(), |one| &one.metadata);
            for mount in container(&workload).volume_mounts.iter().flatten() {
                let mut names = volumes.clone().map(|one| &one.name).chain(&claims);
                assert!(
                    names.any(|name| *name == mount.name),
                    "no volume {}",
                    mount.name
                );
            }
        }
    }
}

fn names<T>(
    of: &[T],
    metadata: impl Fn(&T) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> Vec<String> {
    of.iter()
        .filter_map(|one| metadata(one).name.clone())
        .collect()
}

/// The numbers that are the same in two places are.
#[test]
fn nats_is_one_cluster() {
    let with_nats = all()
        .iter()
        .filter(|one| !one.of_kind::<StatefulSet>().is_empty());
    let mut seen = 0;
    for rendered in with_nats {
        let sets = rendered.of_kind::<StatefulSet>();
        let spec = sets
            .first()
            .and_then(|set| set.spec.as_ref())
            .expect("a spec");
        let replicas = spec.replicas.expect("replicas");
        let config = data_of(rendered, "nats-config", "nats.conf");
        let service = spec.service_name.as_deref().unwrap_or_default();
        for index in 0..replicas {
            let route = format!("nats://nats-{index}.{service}:6222");
            assert!(config.contains(&route), "{route}");
        }
        let url = data_of(rendered, "rdev-settings", "RDEV_NATS_URL");
        assert_eq!(url, "nats://nats:4222");
        let copies = data_of(rendered, "rdev-settings", "RDEV_REPLICAS");
        assert_eq!(copies, replicas.to_string());
        // The log is full before the store is.
        let log: u64 = data_of(rendered, "rdev-settings", "RDEV_LOG_MAX_BYTES")
            .parse()
            .expect("bytes");
        assert!(0 < log && log < store_bytes(&config), "{log}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// What a server takes of its volume. To NATS a `GB` is 2^30 bytes.
fn store_bytes(config: &str) -> u64 {
    let line = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("max_file_store:"));
    let gigabytes = line.and_then(|line| line.trim().strip_suffix("GB"));
    let gigabytes: u64 = gigabytes.and_then(|text| text.parse().ok()).expect("GB");
    gigabytes << 30
}

/// A value of the ConfigMap whose generated name begins so.
pub(super) fn data_of(rendered: &Rendered, map: &str, key: &str) -> String {
    let maps = rendered.of_kind::<ConfigMap>();
    let found = maps.iter().find(|one| {
        let name = one.metadata.name.as_deref().unwrap_or_default();
        name.rsplit_once('-').is_some_and(|(name, _)| name == map)
    });
    let data = found
        .and_then(|one| one.data.as_ref())
        .expect("a ConfigMap");
    data.get(key).cloned().expect("a key of it")
}
