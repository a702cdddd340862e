//! `rdev doctor`: what it sees, and what it says to do.

use rdev_kube_standin::Standin;
use rdev_tests::Outcome;
use rdev_tests::world::World;
use serde_json::Value;

use super::super::{options, world};
use super::Person;

/// The findings by what was looked at.
async fn findings(person: &Person, args: &[&str], code: i32) -> Outcome<Value> {
    let mut all = vec!["doctor", "--json"];
    all.extend_from_slice(args);
    let said = person.says(&all).await?.expect(code)?;
    let findings: Vec<Value> = serde_json::from_str(&said.text())?;
    let mut by_name = serde_json::Map::new();
    for finding in findings {
        let name = finding["what"].as_str().unwrap_or_default().to_owned();
        by_name.insert(name, finding);
    }
    Ok(Value::Object(by_name))
}

fn healths(findings: &Value) -> Vec<(String, String)> {
    let health = |finding: &Value| finding["health"].as_str().unwrap_or_default().to_owned();
    let findings = findings.as_object().into_iter().flatten();
    findings
        .map(|(name, finding)| (name.clone(), health(finding)))
        .collect()
}

#[tokio::test]
async fn a_sound_installation_is_found_sound() -> Outcome<()> {
    let (world, services) = world().await?;
    let session = services.client.session("pod").await?;
    let person = Person::of(&services.client)?
        .with("RDEV_SESSION", &session)
        .with("RDEV_NATS_URL", &world.nats.url())
        .with("RDEV_POSTGRES_URL", &world.postgres_url)
        .with("RDEV_BACKEND", "local");
    let found = findings(&person, &[], 0).await?;
    for (name, health) in healths(&found) {
        let wanted = if name == "kubernetes" { "skip" } else { "ok" };
        assert_eq!(health, wanted, "{}", found[&name]);
    }
    for name in [
        "gateway", "clock", "key", "run", "nats", "log", "executor", "postgres",
    ] {
        assert!(found[name].is_object(), "no {name} in {found}");
    }
    // For people, a line each.
    let said = person.says(&["doctor"]).await?.expect(0)?.text();
    assert!(
        said.contains("ok    gateway ") && said.ends_with("all is well\n"),
        "{said}"
    );

    services.executor.stop().await;
    let found = findings(&person, &["--no-run"], 1).await?;
    assert_eq!(found["executor"]["health"], "fail", "{found}");
    assert!(
        found["executor"]["advice"]
            .as_str()
            .is_some_and(|advice| advice.contains("start an executor"))
    );
    Ok(())
}

#[tokio::test]
async fn what_does_not_work_is_named_with_what_to_do() -> Outcome<()> {
    // Nobody is there, and nothing is set.
    let person = Person::new()?.with("RDEV_URL", "http://127.0.0.1:1");
    let said = person.says(&["doctor"]).await?.expect(1)?.text();
    assert!(
        said.contains("fail  gateway     cannot reach the gateway"),
        "{said}"
    );
    assert!(
        said.contains("→ is it running?") && said.contains("1 to mend"),
        "{said}"
    );

    let options = options()
        .variable("RDEV_REQUIRE_KEYS", "true")
        .variable("RDEV_MAKE_FIRST_KEY", "true");
    let mut world = World::bare(options).await?;
    let _projector = world.projector()?;
    let (_gateway, client) = world.gateway()?;
    let person = Person::of(&client)?;
    // The gateway needs a moment to be there.
    let ready = async {
        loop {
            let found = client
                .send(client.http().get(format!("{}/readyz", client.base)))
                .await;
            if found.is_ok_and(|found| found.status == 200) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, ready).await?;
    let found = findings(&person, &[], 1).await?;
    assert_eq!(found["gateway"]["health"], "ok", "{found}");
    assert_eq!(found["key"]["health"], "fail", "{found}");
    assert!(
        found["key"]["advice"]
            .as_str()
            .is_some_and(|advice| advice.contains("RDEV_API_KEY"))
    );

    let person = person
        .with("RDEV_NATS_URL", "nats://127.0.0.1:1")
        .with("RDEV_POSTGRES_URL", "postgres://nobody@127.0.0.1:1/none")
        .with("RDEV_SHIM_PATH", "/nowhere/rdev-shim");
    let standin = Standin::start().await?;
    standin.forbid("boxes", "pods/exec");
    let person = person
        .with("KUBECONFIG", &standin.kubeconfig().display().to_string())
        .with("RDEV_NAMESPACE", "boxes");
    let found = findings(&person, &[], 1).await?;
    for name in ["nats", "postgres", "kubernetes", "shim"] {
        assert_eq!(found[name]["health"], "fail", "{name}: {found}");
        assert!(found[name]["advice"].is_string(), "{name}: {found}");
    }
    let seen = found["kubernetes"]["seen"].as_str().unwrap_or_default();
    assert!(
        seen.contains("in boxes it may not: get pods/exec"),
        "{seen}"
    );
    let found = findings(&person, &["--namespace", "default"], 1).await?;
    assert_eq!(found["kubernetes"]["health"], "ok", "{found}");
    standin.shutdown().await;
    Ok(())
}
