//! Files that are whole or not there, and a word on how far they are.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How often is looked whether there is something to say.
const EVERY: u64 = 4096;

/// How long it is quiet.
const QUIET: Duration = Duration::from_secs(1);

/// A file that is written under another name, and takes its own with [`NewFile::finish`]. Its owner alone reads it.
pub(super) struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
    writer: BufWriter<File>,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> anyhow::Result<NewFile> {
        let unfinished = beside(path, &format!("{}.unfinished", std::process::id()))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.with_context(|| format!("cannot write {}", unfinished.display()))?;
        Ok(NewFile { path: path.to_owned(), unfinished, writer: BufWriter::with_capacity(1 << 20, file) })
    }

    /// A file with this content.
    pub(super) fn with(path: &Path, content: &[u8]) -> anyhow::Result<NewFile> {
        let mut file = NewFile::create(path)?;
        file.write(content)?;
        Ok(file)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.writer.write_all(bytes).with_context(|| format!("cannot write {}", self.unfinished.display()))
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let done = self.writer.flush().and_then(|()| fs::rename(&self.unfinished, &self.path));
        done.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // There is none any more where it was finished.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Returns `path` with one more ending.
pub(super) fn beside(path: &Path, ending: &str) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("--out: {} names no file", path.display()))?;
    let mut name = name.to_owned();
    name.push(".");
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// Says on standard error how far it is, once that takes longer.
pub(super) struct Progress {
    whole: u64,
    begun: Instant,
    said: Instant,
}

impl Progress {
    pub(super) fn new(whole: u64) -> Progress {
        let now = Instant::now();
        Progress { whole, begun: now, said: now }
    }

    pub(super) fn made(&mut self, so_far: u64) {
        if !so_far.is_multiple_of(EVERY) || self.said.elapsed() < QUIET {
            return;
        }
        self.said = Instant::now();
        let rest = self.begun.elapsed().as_secs_f64() * (self.whole - so_far) as f64 / so_far as f64;
        // Nobody reads it: nothing to be done about it.
        let _ = writeln!(std::io::stderr(), "targets: {so_far} of {}, {rest:.0} s to go", self.whole);
    }
}
