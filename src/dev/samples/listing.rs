//! What is in a folder, as keys of objects.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The keys of the files below `dir`, sorted, at most `limit`.
///
/// Hidden files, names that are not UTF-8 and folders that may not be read are left out, and so are links that lead out
/// of `dir`. A folder that several links lead to is listed once, so links in a circle end.
///
/// # Errors
///
/// When `dir` itself cannot be read.
pub fn list_objects(dir: &Path, limit: usize) -> io::Result<Vec<String>> {
    let root = dir.canonicalize()?;
    fs::read_dir(&root)?;
    let mut listing = Listing { seen: HashSet::new(), keys: Vec::new(), limit, root: root.clone() };
    listing.add_folder(root, "");
    Ok(listing.keys)
}

struct Listing {
    root: PathBuf,
    seen: HashSet<PathBuf>,
    keys: Vec<String>,
    limit: usize,
}

impl Listing {
    /// Adds what is in `folder`, whose keys begin with `prefix`.
    fn add_folder(&mut self, folder: PathBuf, prefix: &str) {
        let Ok(entries) = fs::read_dir(&folder) else { return };
        if !self.seen.insert(folder) {
            return;
        }
        let mut found: Vec<(String, PathBuf)> = entries.flatten().filter_map(|entry| self.found(&entry)).collect();
        found.sort();
        for (name, path) in found {
            if self.keys.len() >= self.limit {
                return;
            }
            match name.ends_with('/') {
                true => self.add_folder(path, &format!("{prefix}{name}")),
                false => self.keys.push(format!("{prefix}{name}")),
            }
        }
    }

    /// The entry's name, with a `/` behind a folder's as in its keys, and where it really is.
    fn found(&self, entry: &fs::DirEntry) -> Option<(String, PathBuf)> {
        let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
        let path = entry.path().canonicalize().ok().filter(|path| path.starts_with(&self.root))?;
        let kind = path.metadata().ok()?;
        if kind.is_dir() { Some((name + "/", path)) } else { kind.is_file().then_some((name, path)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_sorted_bounded_and_ends() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for key in ["a/1", "a/b/2", "a.txt", "ü/ñ.txt", ".hidden", ".git/x"] {
            fs::create_dir_all(dir.path().join(key).parent().unwrap()).unwrap();
            fs::write(dir.path().join(key), key).unwrap();
        }
        std::os::unix::fs::symlink("..", dir.path().join("a/up")).unwrap();
        std::os::unix::fs::symlink("a.txt", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("out")).unwrap();
        fs::write(elsewhere.path().join("secret"), "").unwrap();
        let all = ["a.txt", "a/1", "a/b/2", "link", "ü/ñ.txt"];
        assert_eq!(list_objects(dir.path(), 100).unwrap(), all);
        assert_eq!(list_objects(dir.path(), 2).unwrap(), all[..2]);
        assert!(list_objects(&dir.path().join("none"), 1).is_err());
    }
}
