//! `lakeward init`: a config file for a server that is running.
//!
//! The password never enters the file: it holds the reference to the variable. An existing file is
//! not touched without `--force`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use clap::Args;
use lakeward_core::{Error, ErrorKind, Result, TableId};

use crate::cli::{Outcome, Which, answer};
use crate::{config, wiring};

/// Write a config file for a server that is running.
///
/// Connects, looks which databases the account can see, and writes a file that captures them.
/// The password is taken from an environment variable, to which the file then refers.
#[derive(Args)]
#[command(after_help = "Example:\n  export MYSQL_PASSWORD=…\n  lakeward init --host db.example.com --user \
                        lakeward --lake s3://my-bucket/raw\n  lakeward check && lakeward run")]
pub(crate) struct InitArgs {
    #[command(flatten)]
    which: Which,
    /// The server's host name or address.
    #[arg(long)]
    host: String,
    /// Its port.
    #[arg(long, default_value_t = 3306)]
    port: u16,
    /// The account.
    #[arg(long)]
    user: String,
    /// The environment variable that holds the account's password.
    #[arg(long, value_name = "NAME", default_value = "MYSQL_PASSWORD")]
    password_env: String,
    /// TLS: disabled, preferred, required, verify-ca or verify-identity.
    #[arg(long, default_value = "preferred")]
    tls: String,
    /// PEM file of the certificate authorities to trust.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<String>,
    /// The lake: s3://bucket/prefix or file:///folder.
    #[arg(long, value_name = "URL")]
    lake: String,
    /// The pipeline's name; made from the first database where it is not given.
    #[arg(long)]
    name: Option<String>,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

pub(crate) fn init(args: &InitArgs) -> Result<Outcome> {
    let file = args.which.config.display();
    if !args.force && args.which.config.exists() {
        return Err(Error::new(ErrorKind::Config, "the config file exists already")
            .at("file", &file)
            .remedy("name another one with --config FILE, or replace it with --force"));
    }
    // Parsed first, so that a wrong argument is told as it would be in the file.
    let draft = config::parse(&written(args, &["*".to_owned()]), &config::process()).map_err(of_option)?;
    let tables = wiring::discover(&draft.mysql)?;
    let databases = counted(&tables);
    if databases.is_empty() {
        return Err(Error::new(ErrorKind::SourceGrant, "the account sees no table")
            .at("account", &args.user)
            .remedy(format!("GRANT SELECT ON `your_database`.* TO '{}'@'%'", args.user)));
    }
    let names: Vec<String> = databases.keys().map(|name| (*name).to_owned()).collect();
    let text = written(args, &names);
    config::parse(&text, &config::process()).map_err(of_option)?;
    save(args, &text)?;
    let mut told = format!("{file} is written. It captures:\n");
    for (database, count) in &databases {
        told.push_str(&format!("  {database}: {count} tables\n"));
    }
    told.push_str(&format!("Next: lakeward check --config {file}"));
    answer(&told)?;
    Ok(Outcome::Done)
}

/// The option that a key's value comes of: an error does not name a line of a file that is not there.
fn of_option(error: Error) -> Error {
    const OPTIONS: [(&str, &str); 8] = [
        ("name", "--name"),
        ("source.mysql.host", "--host"),
        ("source.mysql.port", "--port"),
        ("source.mysql.user", "--user"),
        ("source.mysql.password", "--password-env"),
        ("source.mysql.tls.mode", "--tls"),
        ("source.mysql.tls.ca", "--tls-ca"),
        ("lake.url", "--lake"),
    ];
    let key = error.context().iter().find(|(what, _)| *what == "key").map(|(_, key)| key.as_str());
    let Some((_, option)) = OPTIONS.iter().find(|(of, _)| Some(*of) == key) else { return error };
    let told = Error::new(error.kind(), error.message()).at("option", option);
    match error.remedy_text() {
        Some(remedy) => told.remedy(remedy),
        None => told,
    }
}

fn counted(tables: &[TableId]) -> BTreeMap<&str, usize> {
    let mut databases = BTreeMap::new();
    for table in tables {
        *databases.entry(&*table.database).or_default() += 1;
    }
    databases
}

fn save(args: &InitArgs, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    match args.force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    options.open(&args.which.config).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Error::new(ErrorKind::Io, "the config file cannot be written")
            .at("file", args.which.config.display())
            .remedy("choose a folder where this user may write, with --config FILE")
            .caused_by(error)
    })
}

/// A value as YAML writes it on one line. JSON is YAML, and its strings hold any character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value that must not be read as a reference.
fn literal(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}

fn pattern(database: &str) -> String {
    match database.contains(['.', '*', '?']) && database != "*" {
        true => literal(&format!("`{database}`.*")),
        false => literal(&format!("{database}.*")),
    }
}

fn name(args: &InitArgs, databases: &[String]) -> String {
    if let Some(name) = &args.name {
        return name.clone();
    }
    let first = databases.first().map(String::as_str).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mapped: String =
        first.to_ascii_lowercase().chars().map(|c| if plain(c) { c } else { '-' }).take(63).collect();
    match mapped.trim_matches('-') {
        "" => "pipeline".to_owned(),
        name => name.to_owned(),
    }
}

fn written(args: &InitArgs, databases: &[String]) -> String {
    let include: Vec<String> = databases.iter().map(|database| pattern(database)).collect();
    let ca = args.tls_ca.as_ref().map(|file| format!(", ca: {}", literal(file))).unwrap_or_default();
    format!(
        "# Written by `lakeward init`. `lakeward config schema` prints all keys.
name: {name}
source:
  mysql:
    host: {host}
    port: {port}
    user: {user}
    password: {password}
    tls: {{ mode: {tls}{ca} }}
tables:
  include: [{include}]
# The rows that are there are read first, without locks, while changes are followed.
# To follow changes only: mode no_data, and `start` says from where.
snapshot: {{ mode: initial }}
lake:
  url: {lake}
  commit: {{ interval: 60s }}
",
        name = quoted(&name(args, databases)),
        host = literal(&args.host),
        port = args.port,
        user = literal(&args.user),
        password = quoted(&format!("${{env:{}}}", args.password_env)),
        tls = literal(&args.tls),
        include = include.join(", "),
        lake = literal(&args.lake),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Outside, parse};

    fn args() -> InitArgs {
        InitArgs {
            which: Which { config: "/nowhere/lakeward.yaml".into() },
            host: "db # \"x\"".into(),
            port: 3307,
            user: "o'hara: } ${env:HOME}".into(),
            password_env: "PW".into(),
            tls: "verify-ca".into(),
            tls_ca: Some("/ca.pem".into()),
            lake: "file:///var/lake".into(),
            name: None,
            force: false,
        }
    }

    #[test]
    fn a_wrong_argument_is_told_with_its_option() {
        let outside = Outside { variable: &|_| Some("hunter2".into()), file: &|_| panic!() };
        for (wrong, option) in [
            (InitArgs { lake: "/x".into(), ..args() }, "--lake"),
            (InitArgs { tls: "verify_ca".into(), ..args() }, "--tls"),
            (InitArgs { name: Some("Shop".into()), ..args() }, "--name"),
        ] {
            let error = parse(&written(&wrong, &["shop".into()]), &outside).map_err(of_option).unwrap_err();
            assert_eq!(error.context(), [("option", option.to_owned())], "{error}");
            assert!(error.remedy_text().is_some(), "{error}");
        }
    }

    #[test]
    fn the_written_file_says_what_was_asked_for_whatever_characters_it_holds() {
        let text = written(&args(), &["Shop_1".into(), "a.b".into()]);
        let outside =
            Outside { variable: &|name| (name == "PW").then(|| "hunter2".into()), file: &|_| panic!() };
        let pipeline = parse(&text, &outside).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(pipeline.name, "shop-1");
        assert_eq!(pipeline.mysql.host, "db # \"x\"");
        assert_eq!(pipeline.mysql.user, "o'hara: } ${env:HOME}");
        assert_eq!(pipeline.mysql.password.unwrap().reveal(), "hunter2");
        assert!(pipeline.tables.captures(&TableId::new("a.b", "t")));
        assert!(pipeline.tables.captures(&TableId::new("Shop_1", "t")));
        assert!(!text.contains("hunter2"));
    }
}
