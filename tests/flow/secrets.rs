//! Secrets: a command gets them, and nothing else does.

use std::fs;
use std::path::Path;

use rdev_tests::Outcome;
use rdev_tests::transcript::sha256;
use rdev_tests::world::PROJECT;
use serde_json::{Value, json};

use super::world;

/// Nobody else writes this.
const VALUE: &str = "pj9-quite-secret-value-9jp";

fn body(name: &str, key: &str, command: &str) -> Value {
    json!({"type": "shell", "command": command, "env": {"PLAIN": "pj9-plain-value-9jp"},
           "secret_env": {"TOKEN": {"name": name, "key": key}}})
}

/// Whether a file below the directory has the text in it.
fn is_in_a_file(directory: &Path, text: &str) -> Outcome<bool> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            is_in_a_file(&path, text)?
        } else if path.is_file() {
            // A file of a server may be gone by now.
            let bytes = fs::read(&path).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        } else {
            false
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test]
async fn a_secret_reaches_its_command_and_nothing_else() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let secret = world.secrets().join(PROJECT).join("forge");
    fs::create_dir_all(&secret)?;
    fs::write(secret.join("token"), VALUE)?;
    let session = client.session("secrets").await?;
    let command = r#"printf %s "$TOKEN" | sha256sum
        case "$(tr '\0' ' ' < /proc/$$/cmdline)" in *"$TOKEN"*) echo "in an argument" ;; esac"#;
    let transcript = client
        .run(&session, &body("forge", "token", command))
        .await?;
    transcript.check()?;
    let expected = format!("{}  -\n", sha256(VALUE.as_bytes()));
    assert_eq!(transcript.stdout(), expected, "{}", world.logs());
    // Everything that the servers and services have written, the secret itself apart.
    fs::remove_dir_all(world.secrets())?;
    assert!(!is_in_a_file(world.directory(), VALUE)?);
    assert!(!world.logs().contains(VALUE));
    // What is looked for would be found: the plain environment is in the log.
    assert!(is_in_a_file(world.directory(), "pj9-plain-value-9jp")?);
    Ok(())
}

#[tokio::test]
async fn a_reference_that_leads_nowhere_is_rejected() -> Outcome<()> {
    let (world, services) = world().await?;
    let client = &services.client;
    let forge = world.secrets().join(PROJECT).join("forge");
    let foreign = world.secrets().join("another").join("foreign");
    fs::create_dir_all(&forge)?;
    fs::create_dir_all(&foreign)?;
    fs::write(foreign.join("token"), VALUE)?;
    fs::write(forge.join("binary"), b"\xff\xfe")?;
    fs::write(forge.join("nul"), b"a\0b")?;
    let session = client.session("nowhere").await?;
    for (name, key, reason) in [
        ("missing", "token", "missing"),
        ("foreign", "token", "foreign"),
        ("forge", "other", "other"),
        ("forge", "binary", "UTF-8"),
        ("forge", "nul", "NUL"),
    ] {
        let transcript = client.run(&session, &body(name, key, "echo ran")).await?;
        transcript.check()?;
        let complete = transcript.complete();
        assert_eq!(complete["outcome"], "rejected", "{name} {key}: {complete}");
        let told = complete["reason"].as_str().unwrap_or_default();
        assert!(told.contains(reason), "{name} {key}: {told}");
        assert_eq!(transcript.stdout(), "");
    }
    let inside = body("forge", "../../another/foreign/token", "echo ran");
    let answer = client
        .post(&format!("/sessions/{session}/exec"), &inside)
        .await?;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["code"], "invalid_secret_env");
    Ok(())
}
