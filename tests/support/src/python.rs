//! Python with the independent readers of a lake (DuckDB, pyarrow).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::install::installed;

/// The interpreter.
pub fn python_program() -> PathBuf {
    installed("venv/bin/python")
}

/// Runs a script with `input` on its standard input; what it printed. Fails if the script does.
pub fn python(script: &Path, arguments: &[&str], input: &str) -> String {
    let mut process = Command::new(python_program())
        // What a script imports from beside it leaves no file there.
        .arg("-B")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = process.stdin.take().expect("python has an input");
    let output = thread::scope(|scope| {
        // A script that ends early closes its input: its own message tells why.
        scope.spawn(move || stdin.write_all(input.as_bytes()).ok());
        process.wait_with_output().expect("python ends")
    });
    assert!(output.status.success(), "{}:\n{}", script.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("scripts print UTF-8")
}
