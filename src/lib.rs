//! The engine and the command line of lakeward.

pub mod cli;
mod commands;
pub mod config;
#[cfg(test)]
mod contracts;
pub mod engine;
pub mod telemetry;
pub mod wiring;

/// Compares a file under `schemas/` with what the code says, or writes it where
/// `LAKEWARD_WRITE_SCHEMAS` is set.
#[cfg(test)]
fn schema_file(name: &str, schema: &serde_json::Value) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    let text = format!("{schema:#}\n");
    if std::env::var_os("LAKEWARD_WRITE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(
        stored == text,
        "{} is not of this code; set LAKEWARD_WRITE_SCHEMAS=1 to write it",
        path.display()
    );
}
