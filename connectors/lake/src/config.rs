//! The `lake:` part of a config file, and its checked form [`Lake`], the only one that can be used.

use std::path::PathBuf;
use std::time::Duration;

use lakeward_core::{ByteSize, Error, ErrorKind, Period, Result, Secret};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::columns::IncompatibleChange;
use crate::layout::{Layout, Partitioning, Preset};

/// Where the lake is, and how its files are cut and written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeConfig {
    /// `s3://bucket/prefix`, or `file:///folder` for a local folder.
    pub url: String,
    /// When files are closed and committed.
    #[serde(default)]
    pub commit: CommitConfig,
    /// Span of time that one partition folder holds.
    #[serde(default)]
    pub partition: Partitioning,
    /// How partition folders are named.
    #[serde(default)]
    pub layout: Preset,
    /// Compression of the Parquet files.
    #[serde(default)]
    pub compression: Compression,
    /// Level of `compression: zstd`, 1 (fastest) to 22.
    #[serde(default = "default_zstd_level")]
    pub zstd_level: i32,
    /// Greatest encoded size of a Parquet row group.
    #[serde(default = "default_row_group_size")]
    pub row_group_size: ByteSize,
    /// Names of the columns that lakeward adds; change one if a table has a column of that name.
    #[serde(default)]
    pub columns: MetaColumns,
    /// Allow other pipelines to write into the same table folders. Default: a table folder belongs
    /// to one pipeline, and a second one is refused.
    #[serde(default)]
    pub shared_tables: bool,
    /// What becomes of a column whose values do not fit its earlier ones into one column (INT to
    /// VARCHAR).
    #[serde(default)]
    pub incompatible_change: IncompatibleChange,
    /// Access to an S3 store.
    #[serde(default)]
    pub s3: S3Config,
}

/// When files are closed and committed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommitConfig {
    /// Longest time between two commits while changes arrive.
    pub interval: Period,
    /// Size at which a file is closed and the table's next one begins.
    pub file_size: ByteSize,
}

impl Default for CommitConfig {
    fn default() -> Self {
        CommitConfig { interval: Period::secs(60), file_size: ByteSize::mib(128) }
    }
}

/// Compression of the Parquet files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// No compression.
    None,
}

/// Names of the columns that lakeward adds to a table's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetaColumns {
    /// What happened: `c`, `u`, `d`, `r` or `t`.
    pub op: String,
    /// The sequence number, the order of change events.
    pub seq: String,
    /// Commit time on the server that was read, UTC.
    pub commit_ts: String,
    /// The transaction's GTID.
    pub gtid: String,
    /// Binlog file and offset of the event.
    pub binlog: String,
    /// Version of the table's structure.
    pub schema: String,
    /// The previous image, where before images are asked for.
    pub before: String,
}

impl Default for MetaColumns {
    fn default() -> Self {
        MetaColumns {
            op: "_op".into(),
            seq: "_seq".into(),
            commit_ts: "_commit_ts".into(),
            gtid: "_gtid".into(),
            binlog: "_binlog".into(),
            schema: "_schema".into(),
            before: "_before".into(),
        }
    }
}

impl MetaColumns {
    /// Config key and name of each, in the order of the file.
    pub fn named(&self) -> [(&'static str, &str); 7] {
        [
            ("op", &self.op),
            ("seq", &self.seq),
            ("commit_ts", &self.commit_ts),
            ("gtid", &self.gtid),
            ("binlog", &self.binlog),
            ("schema", &self.schema),
            ("before", &self.before),
        ]
    }
}

/// Access to an S3 store. Without keys, the AWS credential chain is used (environment, profile,
/// web identity, container, instance).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Url of the store, where it is not AWS.
    pub endpoint: Option<String>,
    /// Region; the AWS chain decides where it is not set.
    pub region: Option<String>,
    /// Put the bucket into the path of a request instead of its host name.
    pub path_style: bool,
    /// Profile of the AWS config files.
    pub profile: Option<String>,
    /// Access key; goes together with `secret_key`.
    pub access_key: Option<Secret>,
    /// Secret key; goes together with `access_key`.
    pub secret_key: Option<Secret>,
    /// Server-side encryption asked for with each object.
    pub sse: Sse,
    /// KMS key of `sse: kms`: its id or ARN. The bucket's default key where it is not set.
    pub kms_key: Option<String>,
}

/// Server-side encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sse {
    /// What the bucket does by itself.
    #[default]
    None,
    /// SSE-S3.
    Aes256,
    /// SSE-KMS.
    Kms,
}

/// Where a lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A local folder, absolute.
    Folder(PathBuf),
    /// A bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// Prefix of every key, without a slash at either end; may be empty.
        prefix: String,
    },
}

/// How Parquet files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Size at which a file is closed, in bytes.
    pub file_size: usize,
    /// Greatest encoded size of a row group, in bytes.
    pub row_group_size: usize,
    /// Compression, and the level of zstd.
    pub compression: (Compression, i32),
    /// Names of the added columns.
    pub columns: MetaColumns,
}

/// A [`LakeConfig`] that was checked.
#[derive(Clone, Debug)]
pub struct Lake {
    /// Where it is.
    pub location: Location,
    /// Longest time between two commits while changes arrive.
    pub interval: Duration,
    /// Partition folders.
    pub layout: Layout,
    /// Parquet files.
    pub files: FileOptions,
    /// Whether table folders may be shared with other pipelines.
    pub shared_tables: bool,
    /// What becomes of a column that changes its kind.
    pub incompatible_change: IncompatibleChange,
    /// Access to S3.
    pub s3: S3Config,
}

impl Lake {
    /// Names that no column of a table may have in the lake.
    pub fn taken_names(&self) -> Vec<String> {
        let folders = self.layout.preset.folder_names(self.layout.partitioning).iter().copied();
        let added = self.files.columns.named().into_iter().map(|(_, name)| name);
        folders.chain(added).map(str::to_owned).collect()
    }
}

/// Smallest `commit.file_size` and `row_group_size`: below, Parquet's own overhead rules.
const SIZE_MIN: ByteSize = ByteSize(64 << 10);
/// Greatest file: what S3 takes in 10,000 parts of the 8 MiB that a part has at least.
const SIZE_MAX: ByteSize = ByteSize::mib(10_000 * 8);

fn default_zstd_level() -> i32 {
    1
}

fn default_row_group_size() -> ByteSize {
    ByteSize::mib(32)
}

fn wrong(key: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message).at("key", key).remedy(remedy)
}

impl LakeConfig {
    /// The checked form. Errors are of kind `Config` and name the key and the fix.
    pub fn checked(&self) -> Result<Lake> {
        if self.commit.interval.0 < Duration::from_millis(100) {
            return Err(wrong(
                "lake.commit.interval",
                "the interval is too short",
                "set it to 100ms or more",
            ));
        }
        if !(1..=22).contains(&self.zstd_level) {
            return Err(wrong("lake.zstd_level", "there is no such level", "set it between 1 and 22"));
        }
        let files = FileOptions {
            file_size: size("lake.commit.file_size", self.commit.file_size)?,
            row_group_size: size("lake.row_group_size", self.row_group_size)?,
            compression: (self.compression, self.zstd_level),
            columns: self.checked_columns()?,
        };
        self.check_s3()?;
        Ok(Lake {
            location: location(&self.url)?,
            interval: self.commit.interval.0,
            layout: Layout { preset: self.layout, partitioning: self.partition },
            files,
            shared_tables: self.shared_tables,
            incompatible_change: self.incompatible_change,
            s3: self.s3.clone(),
        })
    }

    fn checked_columns(&self) -> Result<MetaColumns> {
        let named = self.columns.named();
        for (place, (key, name)) in named.iter().enumerate() {
            if name.is_empty() {
                return Err(wrong("lake.columns", format!("`{key}` has no name"), "give it one"));
            }
            let twice = named.iter().take(place).find(|(_, other)| other.eq_ignore_ascii_case(name));
            if let Some((other, _)) = twice {
                let message = format!("`{key}` and `{other}` have the same name `{name}`");
                return Err(wrong("lake.columns", message, "give each its own name"));
            }
            let folders = self.layout.folder_names(self.partition);
            if folders.iter().any(|folder| folder.eq_ignore_ascii_case(name)) {
                let message = format!("`{key}` is named `{name}`, like a partition folder");
                return Err(wrong("lake.columns", message, "give it another name"));
            }
        }
        Ok(self.columns.clone())
    }

    fn check_s3(&self) -> Result<()> {
        let s3 = &self.s3;
        if s3.access_key.is_some() != s3.secret_key.is_some() {
            let message = "one of `access_key` and `secret_key` is set without the other";
            return Err(wrong("lake.s3", message, "set both, or none to use the AWS credential chain"));
        }
        if s3.kms_key.is_some() && s3.sse != Sse::Kms {
            return Err(wrong("lake.s3.kms_key", "a KMS key is set without `sse: kms`", "set `sse: kms`"));
        }
        if !self.url.starts_with("s3://") && *s3 != S3Config::default() {
            return Err(wrong("lake.s3", "the lake is not on S3", "remove `s3`, or set an s3:// url"));
        }
        Ok(())
    }
}

fn size(key: &'static str, size: ByteSize) -> Result<usize> {
    let in_range = (SIZE_MIN..=SIZE_MAX).contains(&size);
    match usize::try_from(size.0) {
        Ok(bytes) if in_range => Ok(bytes),
        _ => Err(wrong(
            key,
            format!("a size of {size} cannot be used"),
            format!("set it between {SIZE_MIN} and {SIZE_MAX}"),
        )),
    }
}

fn location(url: &str) -> Result<Location> {
    const KEY: &str = "lake.url";
    const FORMS: &str = "write `s3://bucket/prefix` or `file:///folder`";
    if let Some(rest) = url.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // The characters of a bucket name, so that no credentials or ports hide in it.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(wrong(KEY, "the bucket's name is missing or malformed", FORMS));
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
            return Err(wrong(KEY, "the prefix has an empty, `.` or `..` part", FORMS));
        }
        return Ok(Location::S3 { bucket: bucket.into(), prefix: prefix.into() });
    }
    let scheme = url.split_once("://").map_or("none", |(scheme, _)| scheme);
    let unknown = || wrong(KEY, format!("the url is of no known kind: {scheme}"), FORMS);
    let path = url.strip_prefix("file://").ok_or_else(unknown)?;
    if !path.starts_with('/') {
        return Err(wrong(KEY, "the folder's path is not absolute", FORMS));
    }
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|error| wrong(KEY, "the folder's path is not UTF-8", FORMS).caused_by(error))?;
    if path.contains('\0') {
        return Err(wrong(KEY, "the folder's path has a null byte", FORMS));
    }
    Ok(Location::Folder(PathBuf::from(&*path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Lake> {
        serde_json::from_str::<LakeConfig>(json).unwrap().checked()
    }

    #[test]
    fn the_smallest_config_has_the_documented_defaults() {
        let lake = config(r#"{"url": "file:///var/lib/my%20lake"}"#).unwrap();
        assert_eq!(lake.location, Location::Folder("/var/lib/my lake".into()));
        assert_eq!(lake.interval, Duration::from_secs(60));
        assert_eq!(lake.files.file_size, 128 << 20);
        assert_eq!(lake.files.compression, (Compression::Zstd, 1));
        assert_eq!(lake.layout, Layout { preset: Preset::DtHr, partitioning: Partitioning::Hour });
    }

    #[test]
    fn a_bucket_and_its_prefix_are_told_apart() {
        let s3 = |url: &str| config(&format!(r#"{{"url": "{url}"}}"#)).map(|lake| lake.location);
        let at = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(s3("s3://b").unwrap(), at("b", ""));
        assert_eq!(s3("s3://b/a/c/").unwrap(), at("b", "a/c"));
        for url in
            ["s3://", "s3://user:key@b/x", "s3://b/a/../c", "file://relative", "gs://b", "file:///a%ff"]
        {
            let error = s3(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("user:key"), "a secret is shown");
        }
    }

    #[test]
    fn every_refusal_names_the_key_and_the_fix() {
        for (part, key) in [
            (r#""commit": {"interval": "1ms"}"#, "lake.commit.interval"),
            (r#""commit": {"file_size": "1kB"}"#, "lake.commit.file_size"),
            (r#""row_group_size": "999GiB""#, "lake.row_group_size"),
            (r#""zstd_level": 0"#, "lake.zstd_level"),
            (r#""columns": {"op": "_seq"}"#, "lake.columns"),
            (r#""columns": {"op": "HR"}"#, "lake.columns"),
            (r#""columns": {"op": ""}"#, "lake.columns"),
            (r#""s3": {"access_key": "sesame"}"#, "lake.s3"),
            (r#""s3": {"kms_key": "k"}"#, "lake.s3.kms_key"),
        ] {
            let error = config(&format!(r#"{{"url": "s3://b", {part}}}"#)).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
            assert!(error.remedy_text().is_some(), "{error}");
            assert!(!error.to_string().contains("sesame"), "a secret is shown");
        }
        assert!(config(r#"{"url": "file:///x", "s3": {"region": "r"}}"#).is_err());
        assert!(serde_json::from_str::<LakeConfig>(r#"{"url": "file:///x", "comit": {}}"#).is_err());
    }
}
