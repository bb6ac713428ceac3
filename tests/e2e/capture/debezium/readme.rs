//! What the README tells of the differences.

use super::differences::Difference;

const README: &str = include_str!("../../../../README.md");
const HEAD: &str = "| what | Debezium | lakeward | why |";

/// Its table is this list.
pub(super) fn tells(differences: &[Difference]) {
    let rows =
        README.lines().skip_while(|line| *line != HEAD).skip(2).take_while(|line| line.starts_with('|'));
    let row = |listed: &Difference| {
        format!("| {} | {} | {} | {} |", listed.what, listed.debezium, listed.lakeward, listed.why)
    };
    let listed: Vec<String> = differences.iter().map(row).collect();
    let told: Vec<&str> = rows.collect();
    assert!(told == listed, "the README's table is to be\n{}", listed.join("\n"));
}
