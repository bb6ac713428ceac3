//! What a command costs: wall time, CPU time of its own process and its children, peak memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::python_program;

/// What a command cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// From start to end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Greatest resident set, MiB. (The floor is the 10 MiB of the process that forks it.)
    pub peak_mib: f64,
}

/// Runs a command to its successful end, its standard output thrown away, its errors shown.
pub fn measure(command: &Command) -> Measured {
    let mut measured = Command::new(python_program());
    measured
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/measure.py"))
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(key, value),
            None => measured.env_remove(key),
        };
    }
    let output = measured.stderr(Stdio::inherit()).output().expect("python starts");
    assert!(output.status.success(), "{command:?} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[wall, cpu, peak_mib] = &*numbers else { panic!("measure.py printed {text}") };
    Measured { wall: Duration::from_secs_f64(wall), cpu: Duration::from_secs_f64(cpu), peak_mib }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;
    use crate::mysql::{MySql, MySqlOptions};

    #[test]
    fn mysqlbinlog_copies_a_binlog_and_its_cost_is_told() {
        let server = MySql::start(MySqlOptions::default());
        server.sql(
            "CREATE DATABASE a; CREATE TABLE a.t (v LONGTEXT); INSERT INTO a.t VALUES (REPEAT('x', 9000000))",
        );
        let target = Scratch::new("copy");
        let mut command = server.mysqlbinlog();
        command
            .args(["--read-from-remote-server", "--raw", "binlog.000001"])
            .arg(format!("--result-file={}/", target.path().display()));
        let cost = measure(&command);
        let name = "binlog.000001";
        let size = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().len();
        assert_eq!(size(target.join(name)), size(server.data().join(name)));
        assert!(cost.cpu > Duration::ZERO && cost.wall >= cost.cpu / 4, "{cost:?}");
        assert!((1.0..500.0).contains(&cost.peak_mib), "{cost:?}");
    }
}
