//! What crosses the gate in either direction, byte for byte: over a storage that records, and over a real one.

mod answers;
mod bodies;
mod requests;

use tempfile::TempDir;

use crate::support::fat;
use crate::support::origin::Origin;
use crate::support::process::Mediagate;

/// A gate as it is configured by default, in front of `storage`.
fn gate(storage: &Origin) -> Mediagate {
    Mediagate::serve(storage.address, |config| config)
}

/// `path` with a good token of alice's.
fn signed(path: &str) -> String {
    format!("{path}?fat={}", fat("alice"))
}

/// A whole answer of a storage.
fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// `mediagate dev`: the gate in front of a real S3 server over a folder.
struct Dev {
    gate: Mediagate,
    fat: String,
    _dirs: [TempDir; 2],
}

impl Dev {
    fn start(files: &[(&str, &[u8])]) -> Dev {
        let [dir, state] = [(); 2].map(|()| TempDir::new().expect("a folder"));
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("a file");
        }
        let (gate, ready) = Mediagate::dev(state.path(), &["--dir", dir.path().to_str().expect("UTF-8")]);
        let fat = ready["users"][0]["fat"].as_str().expect("a token").to_owned();
        Dev { gate, fat, _dirs: [dir, state] }
    }
}
