//! What the manifests allow, and to whom.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use super::{Rendered, all, base};

fn rights(of: &Rendered) -> Vec<String> {
    let mut rights: Vec<String> = of
        .of_kind::<Role>()
        .into_iter()
        .flat_map(|role| role.rules.unwrap_or_default())
        .flat_map(|rule| {
            let resources = rule.resources.unwrap_or_default();
            let verbs = rule.verbs;
            resources.into_iter().flat_map(move |resource| {
                let right = |verb: &String| format!("{verb} {resource}");
                verbs.iter().map(right).collect::<Vec<_>>()
            })
        })
        .collect();
    rights.sort();
    rights
}

#[test]
fn only_executors_have_rights_and_only_these() {
    for rendered in all() {
        let bindings = rendered.of_kind::<RoleBinding>();
        let subjects: Vec<_> = bindings
            .iter()
            .flat_map(|binding| binding.subjects.iter().flatten())
            .map(|subject| subject.name.as_str())
            .collect();
        assert_eq!(subjects, ["rdev-executor"], "{}", rendered.name);
    }
    assert_eq!(rights(base()), RIGHTS);
}

/// With the component `templates` executors make pods and remove them, and that is all.
#[test]
fn templates_bring_two_rights() {
    let with = all()
        .iter()
        .find(|one| one.name == "overlays/self-contained");
    let added: Vec<_> = rights(with.expect("the overlay"))
        .into_iter()
        .filter(|right| !RIGHTS.contains(&right.as_str()))
        .collect();
    assert_eq!(added, ["create pods", "delete pods"]);
}

/// All that the executor asks of the API, as docs/kubernetes.md tells it.
const RIGHTS: [&str; 6] = [
    "create pods/exec",
    "get pods",
    "get pods/exec",
    "get secrets",
    "list pods",
    "watch pods",
];

/// Nobody reaches a session's pod over the network, and it reaches nothing with a private address.
#[test]
fn pods_of_sessions_are_apart() {
    let policies = base().of_kind::<NetworkPolicy>();
    let of_pods = policies
        .iter()
        .find(|policy| policy.metadata.namespace.as_deref() == Some("rdev-workspaces"));
    let spec = of_pods
        .and_then(|policy| policy.spec.as_ref())
        .expect("a policy");
    let types = spec.policy_types.as_deref().unwrap_or_default();
    assert_eq!(types, ["Ingress", "Egress"]);
    assert_eq!(spec.ingress, None);
    let private = [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ];
    let private_v6 = ["fc00::/7", "fe80::/10"];
    let blocks = spec
        .egress
        .iter()
        .flatten()
        .flat_map(|rule| rule.to.iter().flatten());
    let blocks: Vec<_> = blocks.filter_map(|peer| peer.ip_block.as_ref()).collect();
    let cidrs: Vec<_> = blocks.iter().map(|block| block.cidr.as_str()).collect();
    assert_eq!(cidrs, ["0.0.0.0/0", "::/0"]);
    for (block, private) in blocks.iter().zip([&private[..], &private_v6]) {
        let except = block.except.as_deref().unwrap_or_default();
        for range in private {
            assert!(except.iter().any(|one| one == range), "{range}");
        }
    }
}
