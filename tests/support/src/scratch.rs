//! Folders that live as long as the test.
//!
//! All folders of a process are below one named by its process id. What a killed process left
//! behind is removed by the next one that looks.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = env::temp_dir().join("lakeward-test");
    fs::create_dir_all(&all).expect("the temporary folder is writable");
    for entry in fs::read_dir(&all).expect("the temporary folder is readable").flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    all.join(process::id().to_string())
});
static NEXT: AtomicU32 = AtomicU32::new(0);

/// An empty folder, removed with all it holds when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one; `name` helps people to find it.
    pub fn new(name: &str) -> Scratch {
        let path = HOME.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        // What drops the last other folder may remove the one around it in between.
        while let Err(error) = fs::create_dir_all(&path) {
            assert_eq!(error.kind(), ErrorKind::NotFound, "the temporary folder is writable: {error}");
        }
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A server that was just killed may still be making files.
        for _ in 0..100 {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // Fails, and should, while other folders of this process are in it.
        fs::remove_dir(&*HOME).ok();
    }
}
