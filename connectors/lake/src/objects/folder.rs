//! A lake in a local folder.
//!
//! A file is staged as `_lakeward/<pipeline>/staged/<epoch>/<file name>.staged`: on the filesystem of
//! the lake, and not named like a data file, so no reader takes it. It is shown by `rename`, which
//! moves it whole or not at all. Only [`Store::show`] puts a file under a table's folder, and it moves
//! nothing but the staged file of the same name; the name ends in the epoch and number of the
//! `lakeward-id`, so the name and the size of a visible file prove which one it is.
//!
//! A record is written beside, flushed, and put by `link(2)`: the link fails if the name is taken, and
//! the name never shows half a record (`rename` would replace an older record without a word).
//!
//! Durable means: the file's bytes are flushed, then the folder that holds its name, and every folder
//! made on the way with the one above it. A power cut between a rename and the flush of the folders
//! leaves the staged file, the visible one, or both names on journals that allow it; showing again
//! mends each, as `show` is repeated for every record above the last `shown_through`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lakeward_core::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::{OpenUpload, PART_SIZE, Part, Put, Shown, Store, Stretch, Upload};
use crate::layout::{RECORDS, escape};

/// Ends the name of a staged file.
const STAGED: &str = "staged";
/// Holds records on their way to their names.
const TEMPORARY: &str = "tmp";

/// A lake's folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Makes the names of temporary files unique to this process.
    writer: Uuid,
    next_temporary: AtomicU64,
}

impl Folder {
    /// The lake in the folder `root`, which is made by the first write. `writer` is unique to this
    /// process.
    pub fn new(root: PathBuf, writer: Uuid) -> Self {
        Folder { root, writer, next_temporary: AtomicU64::new(0) }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::new(ErrorKind::Bug, "a key has an empty or relative part").at("key", key));
        }
        Ok(self.root.join(key))
    }

    fn staged_folder(&self, pipeline: &str) -> PathBuf {
        self.root.join(RECORDS).join(escape(pipeline)).join(STAGED)
    }

    fn temporary(&self) -> PathBuf {
        let n = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join(RECORDS).join(TEMPORARY).join(format!("{}-{n}", self.writer))
    }

    /// Deletes a probe of `check`, and the folders that were made for it.
    ///
    /// # Errors
    /// `LakeDenied`, `Io`.
    pub async fn remove_probe(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let root = self.root.clone();
        blocking(move || {
            remove(&path)?;
            remove_if_empty(Some(&root.join(RECORDS).join(TEMPORARY)));
            remove_empty_folders(&root, path.parent());
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorKind::Bug, "a file operation panicked").caused_by(error))?
}

/// Tells what an I/O error means for the lake.
fn failed(action: &'static str, path: &Path, error: io::Error) -> Error {
    let (kind, remedy) = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            (ErrorKind::LakeFull, "free space on the lake's filesystem, then start again: nothing is lost")
        }
        Io::NotADirectory => {
            (ErrorKind::LakeDenied, "a file stands where the lake's folder belongs: correct `lake.url`")
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => (
            ErrorKind::LakeDenied,
            "give the account of this process the right to write into the lake's folder",
        ),
        _ => (ErrorKind::Io, "look at the filesystem of the lake's folder"),
    };
    Error::new(kind, format!("cannot {action}")).at("path", path.display()).remedy(remedy).caused_by(error)
}

fn flush_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed("flush the folder", path, error))
}

/// Makes `path` and what is missing above it, each flushed into the one above.
fn make_folders(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_folders(parent)?;
    match fs::create_dir(path) {
        Ok(()) => flush_folder(parent),
        // Another process may have made it and died before the flush.
        Err(error) if error.kind() == Io::AlreadyExists && path.is_dir() => flush_folder(parent),
        // A filesystem that takes no folders, such as /proc.
        Err(error) if error.kind() == Io::NotFound && parent.is_dir() => {
            let refused = io::Error::new(Io::PermissionDenied, error);
            Err(failed("make the folder", path, refused))
        }
        Err(error) => Err(failed("make the folder", path, error)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(failed("remove the file", path, error)),
        _ => Ok(()),
    }
}

/// Best effort: a folder that is not empty stays.
fn remove_empty_folders(root: &Path, mut folder: Option<&Path>) {
    while let Some(path) = folder.filter(|path| *path != root && path.starts_with(root)) {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != Io::NotFound => return,
            _ => folder = path.parent(),
        }
    }
}

/// Writes `body` to `temporary`, flushed.
fn write_temporary(temporary: &Path, body: &[u8]) -> Result<()> {
    let folder = temporary.parent().unwrap_or(Path::new("/"));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
        file.write_all(body)?;
        file.sync_all()
    };
    loop {
        make_folders(folder)?;
        match write() {
            // The folder was empty and was removed meanwhile; by now it may be there for another file.
            Err(error) if error.kind() == Io::NotFound => {}
            written => return written.map_err(|error| failed("write the file", temporary, error)),
        }
    }
}

fn put_if_absent(temporary: &Path, path: &Path, body: &[u8]) -> Result<Put> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_folders(parent)?;
    let put = loop {
        if path.exists() {
            break Put::Exists;
        }
        write_temporary(temporary, body)?;
        match fs::hard_link(temporary, path) {
            Ok(()) => break Put::Created,
            Err(error) if error.kind() == Io::AlreadyExists => break Put::Exists,
            // A writer that opened meanwhile swept our temporary file away: write it again.
            Err(error) if error.kind() == Io::NotFound && !temporary.exists() => {}
            Err(error) => return Err(failed("link the file to its name", path, error)),
        }
    };
    // Also when another put it: what we go on from must not vanish with a power cut.
    flush_folder(parent)?;
    remove(temporary)?;
    Ok(put)
}

fn put(temporary: &Path, path: &Path, body: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_folders(parent)?;
    write_temporary(temporary, body)?;
    fs::rename(temporary, path).map_err(|error| failed("rename the file", path, error))?;
    flush_folder(parent)
}

/// The `limit` least keys after `after` in `folder` and below, keeping no more than that.
fn least_keys(
    root: &Path,
    folder: &Path,
    after: &str,
    limit: usize,
    found: &mut BTreeSet<String>,
) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        entries => entries.map_err(|error| failed("list the folder", folder, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("list the folder", folder, error))?;
        let path = entry.path();
        // Most filesystems tell the kind with the name; of a link, only its target does.
        let kind = entry.file_type().map_err(|error| failed("list the folder", &path, error))?;
        if kind.is_dir() || kind.is_symlink() && path.is_dir() {
            least_keys(root, &path, after, limit, found)?;
            continue;
        }
        let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        if key > after {
            found.insert(key.to_owned());
            if found.len() > limit {
                found.pop_last();
            }
        }
    }
    Ok(())
}

fn read_stretch(path: &Path, stretch: Stretch) -> io::Result<(Bytes, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let (offset, bytes) = match stretch {
        Stretch::Last(bytes) => (size.saturating_sub(bytes), bytes.min(size)),
        Stretch::From { offset, bytes } => (offset, bytes.min(size.saturating_sub(offset))),
    };
    let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut read, offset)?;
    Ok((read.into(), size))
}

fn stage(folder: &Path, path: &Path) -> Result<()> {
    loop {
        make_folders(folder)?;
        match File::create_new(path) {
            Ok(_) => return Ok(()),
            // The folder was empty and was removed meanwhile; by now it may be there for another file.
            Err(error) if error.kind() == Io::NotFound => {}
            Err(error) => return Err(failed("stage the file", path, error)),
        }
    }
}

/// Removes the folder of an epoch once nothing is staged in it any more; one that is not empty stays.
fn remove_if_empty(folder: Option<&Path>) {
    if let Some(folder) = folder {
        let _not_empty = fs::remove_dir(folder);
    }
}

/// Flushes the folder that a staged file has left, and removes it once it is empty. Another file's
/// showing may have done so.
fn flush_staged_folder(folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        flushed => flushed.map_err(|error| failed("flush the folder", folder, error))?,
    }
    remove_if_empty(Some(folder));
    Ok(())
}

fn show(staged: &Path, path: &Path, bytes: u64) -> Result<Shown> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(staged) {
        Ok(found) if found.len() == bytes => {
            make_folders(parent)?;
            match fs::rename(staged, path) {
                // Another process of the pipeline showed it between the two calls.
                Err(error) if error.kind() == Io::NotFound => {}
                moved => moved.map_err(|error| failed("show the file", path, error))?,
            }
        }
        Ok(_) => return Ok(Shown::Lost),
        Err(error) if error.kind() == Io::NotFound => {}
        Err(error) => return Err(failed("look at the staged file", staged, error)),
    }
    match fs::metadata(path) {
        Ok(found) if found.len() == bytes => {
            flush_folder(parent)?;
            flush_staged_folder(staged.parent())?;
            Ok(Shown::Visible)
        }
        Ok(found) => {
            let message = format!("a file of {} bytes stands where one of {bytes} belongs", found.len());
            Err(Error::new(ErrorKind::LakeCorrupt, message)
                .at("path", path.display())
                .remedy("move the foreign file away and start again"))
        }
        Err(error) if error.kind() == Io::NotFound => Ok(Shown::Lost),
        Err(error) => Err(failed("look at the file", path, error)),
    }
}

fn open_uploads(root: &Path, folder: &Path) -> Result<Vec<OpenUpload>> {
    let mut keys = BTreeSet::new();
    least_keys(root, folder, "", usize::MAX, &mut keys)?;
    let upload = |upload_id: String| {
        let name = upload_id.rsplit('/').next()?.strip_suffix(STAGED)?.strip_suffix('.')?.to_owned();
        Some(OpenUpload { key: name, upload_id })
    };
    Ok(keys.into_iter().filter_map(upload).collect())
}

impl Store for Folder {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        blocking(move || match fs::read(&path) {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(failed("read the file", &path, error)),
        })
        .await
    }

    async fn get_stretch(&self, key: &str, stretch: Stretch) -> Result<Option<(Bytes, u64)>> {
        let path = self.path(key)?;
        blocking(move || match read_stretch(&path, stretch) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(failed("read the file", &path, error)),
        })
        .await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        let (temporary, path) = (self.temporary(), self.path(key)?);
        blocking(move || put_if_absent(&temporary, &path, &body)).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let (temporary, path) = (self.temporary(), self.path(key)?);
        blocking(move || put(&temporary, &path, &body)).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        blocking(move || {
            remove(&path)?;
            match path.parent() {
                Some(parent) if parent.is_dir() => flush_folder(parent),
                Some(_) | None => Ok(()),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let folder = self.path(prefix.trim_end_matches('/'))?;
        let (root, after) = (self.root.clone(), after.to_owned());
        blocking(move || {
            let mut found = BTreeSet::new();
            least_keys(&root, &folder, &after, limit, &mut found)?;
            Ok(found.into_iter().collect())
        })
        .await
    }

    async fn begin(&self, key: &str, lakeward_id: &str) -> Result<Upload> {
        let malformed = || {
            Error::new(ErrorKind::Bug, "a lakeward-id is not pipeline/epoch/n").at("lakeward-id", lakeward_id)
        };
        let mut parts = lakeward_id.rsplitn(3, '/');
        let (Some(n), Some(epoch), Some(pipeline)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let name = key.rsplit('/').next().unwrap_or(key);
        if !name.ends_with(&format!("-{epoch}-{n}.parquet")) {
            return Err(malformed().at("key", key));
        }
        let folder = self.staged_folder(pipeline).join(epoch);
        let path = folder.join(format!("{name}.{STAGED}"));
        let upload_id =
            path.strip_prefix(&self.root).ok().and_then(Path::to_str).ok_or_else(malformed)?.to_owned();
        blocking(move || stage(&folder, &path)).await?;
        Ok(Upload { key: key.to_owned(), upload_id, lakeward_id: lakeward_id.to_owned() })
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        let path = self.path(&upload.upload_id)?;
        let offset = u64::from(number).saturating_sub(1) * PART_SIZE as u64;
        let bytes = body.len() as u64;
        blocking(move || {
            let file = OpenOptions::new().write(true).open(&path);
            // Flushed while the next part is encoded, so that little is left to flush at the end.
            file.and_then(|file| file.write_all_at(&body, offset).and_then(|()| file.sync_data()))
                .map_err(|error| failed("write the staged file", &path, error))
        })
        .await?;
        Ok(Part { number, etag: String::new(), bytes })
    }

    async fn sealed(&self, upload: &Upload, parts: &[Part]) -> Result<()> {
        let path = self.path(&upload.upload_id)?;
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        blocking(move || {
            let file = File::open(&path).map_err(|error| failed("open the staged file", &path, error))?;
            let flushed = file.sync_all().and_then(|()| file.metadata());
            let found = flushed.map_err(|error| failed("flush the staged file", &path, error))?.len();
            if found != bytes {
                let message = format!("a staged file has {found} bytes instead of {bytes}");
                return Err(Error::new(ErrorKind::Io, message).at("path", path.display()));
            }
            path.parent().map_or(Ok(()), flush_folder)
        })
        .await
    }

    async fn show(&self, upload: &Upload, parts: &[Part]) -> Result<Shown> {
        let (staged, path) = (self.path(&upload.upload_id)?, self.path(&upload.key)?);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        blocking(move || show(&staged, &path, bytes)).await
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<()> {
        let path = self.path(&upload.upload_id)?;
        blocking(move || {
            remove(&path)?;
            remove_if_empty(path.parent());
            Ok(())
        })
        .await
    }

    /// Also sweeps up what puts that ended half-way have left; one that is still under way writes
    /// its file again.
    async fn open_uploads(&self, pipeline: &str) -> Result<Vec<OpenUpload>> {
        let folder = self.staged_folder(pipeline);
        let (root, temporary) = (self.root.clone(), self.root.join(RECORDS).join(TEMPORARY));
        blocking(move || {
            let mut left = BTreeSet::new();
            least_keys(&root, &temporary, "", usize::MAX, &mut left)?;
            left.iter().try_for_each(|key| remove(&root.join(key)))?;
            open_uploads(&root, &folder)
        })
        .await
    }

    fn part_size(&self) -> usize {
        PART_SIZE
    }
}
