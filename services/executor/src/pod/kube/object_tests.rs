//! A template and a session in, a pod out.

use serde_json::json;

use super::*;

fn template(pod: Value) -> Template {
    Template {
        workspace: Some("10Gi".to_owned()),
        pod: Some(pod),
        ..Template::default()
    }
}

fn owned() -> Owned {
    Owned {
        project: "demo".parse().unwrap(),
        session: "01930000-0000-7000-8000-000000000001".parse().unwrap(),
        namespace: String::new(),
        name: "rdev-1".to_owned(),
        is_claim: false,
        container: String::new(),
        log: "7".to_owned(),
    }
}

fn made(template: &Template, shim_image: Option<&str>) -> Value {
    let making = Making {
        owned: &owned(),
        template,
        project_label: Some("team.example/project"),
        shim_image,
    };
    serde_json::to_value(making.pod().unwrap()).unwrap()
}

#[test]
fn a_pod_says_whose_it_is_and_is_strict() {
    let pod = json!({
        "metadata": {"labels": {"app": "box", SESSION_LABEL: "another"}},
        "spec": {"containers": [{"name": "main", "image": "rust"}, {"name": "db", "image": "pg"}]},
    });
    let pod = made(&template(pod), Some("rdev-executor:1"));
    let labels = json!({
        "app": "box", "rdev.dev/project": "demo", "team.example/project": "demo",
        "rdev.dev/session": "01930000-0000-7000-8000-000000000001", "rdev.dev/log": "7",
    });
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!(pod["metadata"]["name"], "rdev-1");
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations[DEFAULT_CONTAINER_ANNOTATION], "main");
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(
        spec["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let strict = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let init = &spec["initContainers"][0];
    for container in [&spec["containers"][0], &spec["containers"][1], init] {
        assert_eq!(container["securityContext"], strict, "{container}");
    }
    assert_eq!(init["image"], "rdev-executor:1");
    assert_eq!(init["command"][5], "/rdev-shim/bin/rdev-shim");
    let main = &spec["containers"][0];
    assert_eq!(main["env"][0]["value"], "/rdev-shim");
    assert_eq!(main["workingDir"], "/workspace");
    assert_eq!(spec["containers"][1].get("volumeMounts"), None);
    let size = json!({"name": "workspace", "emptyDir": {"sizeLimit": "10Gi"}});
    assert_eq!(
        spec["volumes"],
        json!([{"name": "rdev-shim", "emptyDir": {}}, size])
    );
}

#[test]
fn what_the_template_says_stays() {
    let pod = json!({"spec": {
        "automountServiceAccountToken": true,
        "securityContext": {"runAsNonRoot": false},
        "containers": [{"name": "main", "image": "rust", "workingDir": "/src",
            "securityContext": {"allowPrivilegeEscalation": true, "capabilities": {"drop": []}}}],
    }});
    let pod = made(&template(pod), None);
    let spec = &pod["spec"];
    assert_eq!(spec["automountServiceAccountToken"], true);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], false);
    let main = &spec["containers"][0];
    assert_eq!(main["workingDir"], "/src");
    let context = &main["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], true);
    assert_eq!(context["capabilities"]["drop"], json!([]));
    assert_eq!(spec.get("initContainers"), None);
}

#[test]
fn what_is_misspelt_is_found() {
    let container = json!({"name": "main", "image": "rust", "resourcez": {}});
    let wrong = template(json!({"spec": {"containers": [container]}}));
    let error = spec_of(&wrong).unwrap_err();
    assert_eq!(
        error,
        "pod.spec.containers[0].resourcez is not known to Kubernetes"
    );
    let wrong = template(json!({"spec": {"containers": [{"name": 1}]}}));
    assert!(spec_of(&wrong).is_err());
    assert_eq!(spec_of(&Template::default()).unwrap_err(), "it has no pod");
}
