//! Writes the published schemas and the AsyncAPI document into this crate's directory, from its
//! types: `cargo run -p rdev-contract --example schemas`. The tests say when that is due.

mod asyncapi;
mod documents;

use std::fs;
use std::path::Path;

use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemas = crate_directory.join("schemas");
    fs::create_dir_all(&schemas)?;
    for (name, schema) in documents::documents() {
        write(&schemas.join(format!("{name}.json")), &schema)?;
    }
    write(
        &crate_directory.join("asyncapi.json"),
        &asyncapi::document(),
    )?;
    Ok(())
}

fn write(path: &Path, document: &Value) -> Result<(), Box<dyn std::error::Error>> {
    fs::write(path, serde_json::to_string_pretty(document)? + "\n")?;
    Ok(())
}
