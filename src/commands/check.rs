//! `lakeward check`: one line per thing that was looked at, with the statement that mends it.

use lakeward_core::{Finding, Level, Result};
use serde_json::json;

use crate::cli::{Outcome, Report, answer, runtime};
use crate::{config, wiring};

pub(crate) fn check(report: &Report) -> Result<Outcome> {
    let pipeline = config::load(&report.which.config)?;
    let mut findings = vec![Finding::ok("config", format!("{} is valid", report.which.config.display()))];
    findings.extend(runtime()?.block_on(wiring::check(&pipeline))?);
    let failed = findings.iter().any(|finding| finding.level == Level::Error);
    match report.json {
        true => answer(&format!("{:#}", json!({ "ok": !failed, "findings": findings })))?,
        false => answer(&listed(&findings))?,
    }
    Ok(if failed { Outcome::CheckFailed } else { Outcome::Done })
}

fn listed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Error => "ERROR  ",
        };
        text.push_str(&format!("{mark}  {}: {}\n", finding.subject, finding.message));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            text.push_str(&format!("           to mend it: {line}\n"));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    text.push_str(&format!("{} errors, {} warnings", count(Level::Error), count(Level::Warning)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_listed_with_what_mends_them() {
        let findings = [
            Finding::ok("server.version", "MySQL 9.7.4"),
            Finding::error("server.binlog_format", "STATEMENT").fix("SET PERSIST binlog_format = ROW;"),
        ];
        let text = listed(&findings);
        assert!(text.contains("ERROR    server.binlog_format: STATEMENT\n"), "{text}");
        assert!(text.contains("to mend it: SET PERSIST binlog_format = ROW;"), "{text}");
        assert!(text.ends_with("1 errors, 0 warnings"), "{text}");
    }
}
