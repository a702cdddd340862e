//! Logs, tables and JSON, completions, and whose settings count.

use rdev_tests::Outcome;
use serde_json::Value;
use tokio::process::Command;

use super::super::world;
use super::{PATIENCE, Person};

fn json(text: &str) -> Outcome<Vec<Value>> {
    Ok(serde_json::from_str(text)?)
}

/// The execs, as soon as the tables know the ends of so many.
async fn ended(person: &Person, wanted: usize) -> Outcome<Vec<Value>> {
    let complete = ["execs", "--status", "complete", "--json"];
    let known = async {
        loop {
            let execs = json(&person.says(&complete).await?.expect(0)?.text())?;
            if execs.len() == wanted {
                return Ok(execs);
            }
        }
    };
    tokio::time::timeout(PATIENCE, known).await?
}

#[tokio::test]
async fn what_was_left_running_is_found_again() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?;
    let made = person
        .says(&["sessions", "create", "--pod", "web"])
        .await?
        .expect(0)?;
    let session = made.text().trim().to_owned();
    let person = person.with("RDEV_SESSION", "web");
    let left = person.says(&["exec", "-d", "--", "echo out; echo err >&2; exit 4"]);
    let left = left.await?.expect(0)?.text().trim().to_owned();
    let (of, id) = left.split_once('/').ok_or("no name")?;
    assert_eq!(of, session);
    // By its name, by its id, and to its end.
    let said = person.says(&["attach", &left]).await?.expect(4)?;
    assert_eq!(
        (said.text().as_str(), said.stderr.as_str()),
        ("out\n", "err\n")
    );
    let said = person.says(&["logs", id]).await?.expect(0)?;
    assert_eq!(
        (said.text().as_str(), said.stderr.as_str()),
        ("out\n", "err\n")
    );
    let said = person.says(&["logs", id, "--json"]).await?.expect(0)?;
    let events: Result<Vec<Value>, _> = said.text().lines().map(serde_json::from_str).collect();
    let events = events?;
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str()).collect();
    assert_eq!(names, [Some("output"), Some("output"), Some("complete")]);
    let after = events[1]["id"].as_str().unwrap_or_default();
    assert_eq!(
        person
            .says(&["logs", id, "--after", after])
            .await?
            .expect(0)?
            .text(),
        ""
    );

    // The same id again runs nothing twice.
    let again = ["exec", "--id", id, "--", "echo out; echo err >&2; exit 4"];
    assert_eq!(person.says(&again).await?.expect(4)?.text(), "out\n");
    let other = ["exec", "--id", id, "--", "echo other"];
    let said = person.says(&other).await?.expect(125)?;
    assert!(said.stderr.contains("stream_id_in_use"), "{}", said.stderr);

    // Of the session, everything since; each exec with its name.
    person
        .says(&["exec", "--id", "second", "--", "echo second"])
        .await?
        .expect(0)?;
    let said = person.says(&["logs", "--since", "1h"]).await?.expect(0)?;
    assert_eq!(said.text(), "out\nsecond\n");
    assert!(
        said.stderr.contains(&format!("==> {id} <==")),
        "{}",
        said.stderr
    );
    assert_eq!(person.says(&["logs"]).await?.expect(0)?.text(), "second\n");
    let ended = ["sessions", "end", &session];
    person.says(&ended).await?.expect(0)?;
    assert_eq!(
        person
            .says(&["sessions", "--json"])
            .await?
            .expect(0)?
            .text()
            .trim(),
        "[]"
    );
    let said = person.says(&["sessions", "--all"]).await?.expect(0)?.text();
    assert!(said.contains("ended") && said.contains("deleted"), "{said}");
    Ok(())
}

#[tokio::test]
async fn tables_are_for_people_and_json_is_for_programs() -> Outcome<()> {
    let (_world, services) = world().await?;
    let person = Person::of(&services.client)?.with("RDEV_SESSION", "pod");
    person
        .says(&["exec", "--id", "fine", "--", "true"])
        .await?
        .expect(0)?;
    person
        .says(&["exec", "--id", "bad", "--", "exit 9"])
        .await?
        .expect(9)?;
    let session = json(
        &person
            .says(&["sessions", "--json"])
            .await?
            .expect(0)?
            .text(),
    )?;
    assert_eq!(session[0]["pod"], "pod");
    let table = person.says(&["sessions"]).await?.expect(0)?.text();
    let id = session[0]["id"].as_str().unwrap_or_default();
    let row = table.lines().nth(1).unwrap_or_default();
    assert!(
        table.starts_with("SESSION ") && row.starts_with(id),
        "{table}"
    );
    assert_eq!(row.split_whitespace().nth(1), Some("pod"));

    let execs = ended(&person, 2).await?;
    let ids: Vec<_> = execs
        .iter()
        .filter_map(|exec| exec["id"].as_str())
        .collect();
    assert_eq!(ids, ["bad", "fine"]);
    assert_eq!(execs[0]["complete"]["exit_code"], 9);
    let table = person.says(&["execs"]).await?.expect(0)?.text();
    let cells: Vec<_> = table
        .lines()
        .nth(1)
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(cells[..4], ["bad", "shell", "exited", "9"], "{table}");
    assert_eq!(
        json(&person.says(&["execs", "-n", "1", "--json"]).await?.text())?.len(),
        1
    );
    let none = ["execs", "--outcome", "lost", "--since", "1h", "--json"];
    assert_eq!(person.says(&none).await?.expect(0)?.text().trim(), "[]");
    let said = person
        .says(&["execs", "--status", "odd"])
        .await?
        .expect(125)?;
    assert!(said.stderr.contains("invalid_filter"), "{}", said.stderr);
    Ok(())
}

#[tokio::test]
async fn completions_are_what_shells_understand() -> Outcome<()> {
    let person = Person::new()?;
    for shell in ["bash", "zsh", "fish"] {
        let script = person
            .says(&["completions", shell])
            .await?
            .expect(0)?
            .text();
        for name in [
            "exec",
            "attach",
            "conversations",
            "doctor",
            "--queue-timeout",
        ] {
            let name = if shell == "fish" {
                name.trim_start_matches('-')
            } else {
                name
            };
            assert!(script.contains(name), "{shell}: no {name}");
        }
        if shell == "bash" {
            let file = person.home().join("completions");
            std::fs::write(&file, script)?;
            let parsed = Command::new("bash").arg("-n").arg(&file).status().await?;
            assert!(parsed.success());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_that_over_the_file() -> Outcome<()> {
    let (_world, services) = world().await?;
    let base = &services.client.base;
    let nowhere = "http://127.0.0.1:1";
    let person = Person::new()?;
    let directory = person.home().join(".config/rdev");
    std::fs::create_dir_all(&directory)?;
    let write = |url: &str| {
        let text =
            format!("url = \"{url}\"\nproject = \"of-file\"\n[profiles.right]\nurl = \"{base}\"\n");
        std::fs::write(directory.join("config.toml"), text)
    };
    write(nowhere)?;
    person.says(&["sessions"]).await?.expect(125)?;
    person
        .says(&["sessions", "--profile", "right"])
        .await?
        .expect(0)?;
    person.says(&["sessions", "--url", base]).await?.expect(0)?;
    let by_variable = person.with("RDEV_URL", base);
    by_variable.says(&["sessions"]).await?.expect(0)?;
    by_variable
        .says(&["sessions", "--url", nowhere])
        .await?
        .expect(125)?;
    write(base)?;
    // The project of the file, and another one.
    let create = ["sessions", "create", "--pod", "p", "--json"];
    let made: Value = serde_json::from_str(&by_variable.says(&create).await?.expect(0)?.text())?;
    assert_eq!(made["project_id"], "of-file");
    let elsewhere = ["sessions", "create", "-p", "other", "--pod", "p", "--json"];
    let made: Value = serde_json::from_str(&by_variable.says(&elsewhere).await?.expect(0)?.text())?;
    assert_eq!(made["project_id"], "other");
    Ok(())
}
