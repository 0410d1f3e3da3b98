//! Files to look at: what `mediagate dev` puts into an empty folder, and what it finds in a folder of the user's.
//!
//! The samples are made here, byte for byte the same everywhere: no codec, no download, nothing of anybody's.

mod listing;
mod mp4;
mod png;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

pub use listing::list_objects;

const PICTURE: &str = "media/picture.png";
const TEXT: &str = "media/readme.txt";
const VIDEO: &str = "media/clip.mp4";
/// A video that goes on for a while, for the gallery: links to it would take as long to open.
pub(crate) const STREAM: &str = "media/stream.mp4";

/// What a player of [`STREAM`] takes in a second.
pub(crate) const STREAM_BYTES_PER_SECOND: u64 = 23_200 * 1000 / mp4::STREAM.frame_ms as u64;

/// A name with what goes wrong when a URL is built by hand: an encoding left out, done twice, or undone too early.
const ODD: &str = "media/odd name + @ () % # ünïcödé 文字.txt";

/// Makes the bytes of a sample.
type Content = fn() -> Vec<u8>;

/// Makes the sample files that are missing below `dir`/media and returns the keys of those that are soon read.
///
/// A file that exists is left as it is. A new one appears whole or not at all.
///
/// # Errors
///
/// When the folder cannot be made or written to.
pub fn write_samples(dir: &Path) -> io::Result<Vec<String>> {
    let samples: [(&str, Content); 5] = [
        (PICTURE, png::gradient),
        (TEXT, || b"This text came through the gate.\nDeactivate its user and the same link answers 403.\n".to_vec()),
        (VIDEO, || mp4::CLIP.bytes()),
        (ODD, || format!("The key of this object is:\n{ODD}\n").into_bytes()),
        (STREAM, || mp4::STREAM.bytes()),
    ];
    fs::create_dir_all(dir.join("media"))?;
    for (key, content) in samples {
        let path = dir.join(key);
        if path.symlink_metadata().is_err() {
            write_whole(&path, &content())?;
        }
    }
    Ok(samples.iter().map(|(key, _)| (*key).to_owned()).filter(|key| key != STREAM).collect())
}

/// Writes beside `path`, then renames: nobody reads half a file.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The boxes in `data`: kind and content.
    fn boxes(mut data: &[u8]) -> Vec<(&[u8], &[u8])> {
        let mut found = Vec::new();
        while !data.is_empty() {
            let (content, rest) = data.split_at(number(data, 0));
            found.push((&content[4..8], &content[8..]));
            data = rest;
        }
        found
    }

    fn inside<'a>(data: &'a [u8], path: &[&str]) -> &'a [u8] {
        path.iter().fold(data, |data, kind| boxes(data).iter().find(|found| found.0 == kind.as_bytes()).unwrap().1)
    }

    /// The `n`th 32-bit number.
    fn number(data: &[u8], n: usize) -> usize {
        u32::from_be_bytes(data[n * 4..][..4].try_into().unwrap()) as usize
    }

    #[test]
    fn a_video_can_be_played_from_any_frame() {
        let (clip, stream) = (mp4::CLIP.bytes(), mp4::STREAM.bytes());
        assert!((2_000_000..4_000_000).contains(&clip.len()), "{}", clip.len());
        check_video(&clip, mp4::CLIP);
        check_video(&stream, mp4::STREAM);
        let seconds = u64::from(mp4::STREAM.frames * mp4::STREAM.frame_ms) / 1000;
        let rate = stream.len() as u64 / seconds;
        assert!((rate..rate + 2000).contains(&STREAM_BYTES_PER_SECOND), "{rate}");
    }

    #[track_caller]
    fn check_video(clip: &[u8], film: mp4::Film) {
        let kinds: Vec<_> = boxes(clip).iter().map(|found| found.0).collect();
        assert_eq!(kinds, [b"ftyp", b"moov", b"mdat"], "the header is in front of the media");
        let stbl = inside(clip, &["moov", "trak", "mdia", "minf", "stbl"]);
        let [stsz, stss, stsc, stco] = ["stsz", "stss", "stsc", "stco"].map(|kind| inside(stbl, &[kind]));
        let frames = film.frames as usize;
        assert_eq!([number(stsz, 2), number(stss, 1), number(stco, 1) * number(stsc, 3)], [frames; 3]);
        let mut at = clip.len() - inside(clip, &["mdat"]).len();
        for n in 0..frames {
            if n % number(stsc, 3) == 0 {
                assert_eq!(number(stco, 2 + n / number(stsc, 3)), at);
            }
            let size = number(stsz, 3 + n);
            assert_eq!(number(&clip[at..], 0), size - 4, "frame {n} is one NAL unit");
            assert_eq!(clip[at + 4], 0x65, "frame {n} is an IDR picture");
            at += size;
        }
        assert_eq!(at, clip.len());
    }

    #[test]
    fn the_picture_is_a_sound_png() {
        assert_eq!(png::crc32(b"123456789"), 0xcbf4_3926); // the check value of CRC-32/ISO-HDLC
        let picture = png::gradient();
        let mut rest = picture.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let (body, tail) = rest[4..].split_at(number(rest, 0) + 4);
            assert_eq!(number(tail, 0), png::crc32(body) as usize);
            kinds.push(&body[..4]);
            rest = &tail[4..];
        }
        assert_eq!(kinds, [b"IHDR", b"IDAT", b"IEND"]);
    }

    #[test]
    fn samples_are_made_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("media")).unwrap();
        fs::write(dir.path().join(TEXT), "mine").unwrap();
        let keys = write_samples(dir.path()).unwrap();
        let state = || keys.iter().map(|key| fs::metadata(dir.path().join(key)).unwrap().modified().unwrap());
        let before: Vec<_> = state().collect();
        assert_eq!(write_samples(dir.path()).unwrap(), keys);
        assert!(state().eq(before));
        assert_eq!(fs::read(dir.path().join(TEXT)).unwrap(), b"mine");
        let mut sorted = keys.clone();
        sorted.push(STREAM.to_owned());
        sorted.sort();
        assert_eq!(list_objects(dir.path(), usize::MAX).unwrap(), sorted, "and nothing else is left behind");
    }
}
