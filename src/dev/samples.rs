//! Files to look at: what `mediagate dev` puts into an empty folder, and what it finds in a folder of the user's.
//!
//! The samples are made here, byte for byte the same everywhere: no codec, no download, nothing of anybody's.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PICTURE: &str = "media/picture.png";
const TEXT: &str = "media/readme.txt";
const VIDEO: &str = "media/clip.mp4";
/// A name with what goes wrong when a URL is built by hand: an encoding left out, done twice, or undone too early.
const ODD: &str = "media/odd name + @ () % # ünïcödé 文字.txt";

/// Makes the bytes of a sample.
type Content = fn() -> Vec<u8>;

/// Makes the sample files that are missing below `dir`/media and returns the keys of all of them.
///
/// A file that exists is left as it is. A new one appears whole or not at all.
///
/// # Errors
///
/// When the folder cannot be made or written to.
pub fn write_samples(dir: &Path) -> io::Result<Vec<String>> {
    let samples: [(&str, Content); 4] = [
        (PICTURE, png::gradient),
        (TEXT, || b"This text came through the gate.\nDeactivate its user and the same link answers 403.\n".to_vec()),
        (VIDEO, mp4::clip),
        (ODD, || format!("The key of this object is:\n{ODD}\n").into_bytes()),
    ];
    fs::create_dir_all(dir.join("media"))?;
    for (key, content) in samples {
        let path = dir.join(key);
        if path.symlink_metadata().is_err() {
            write_whole(&path, &content())?;
        }
    }
    Ok(samples.map(|(key, _)| key.to_owned()).to_vec())
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

/// A picture: PNG (W3C PNG, RFC 1950, RFC 1951) whose image data is stored, not compressed.
mod png {
    const WIDTH: u32 = 640;
    const HEIGHT: u32 = 360;

    pub(super) fn gradient() -> Vec<u8> {
        let mut rows = Vec::new();
        for y in 0..HEIGHT {
            rows.push(0); // filter: none
            for x in 0..WIDTH {
                let ring = (x.abs_diff(WIDTH / 2).pow(2) + y.abs_diff(HEIGHT / 2).pow(2)) / 64;
                rows.extend([(x * 255 / WIDTH) as u8, (y * 255 / HEIGHT) as u8, ring as u8]);
            }
        }
        let mut zlib = vec![0x78, 0x01];
        let blocks = rows.chunks(0xffff);
        let last = blocks.len() - 1;
        for (n, block) in blocks.enumerate() {
            let len = block.len() as u16;
            zlib.push(u8::from(n == last));
            zlib.extend(len.to_le_bytes());
            zlib.extend((!len).to_le_bytes());
            zlib.extend(block);
        }
        zlib.extend(adler32(&rows).to_be_bytes());
        let mut header = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
        header.extend([8, 2, 0, 0, 0]); // 8 bits, RGB
        [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &zlib), &chunk(b"IEND", b"")]
            .concat()
    }

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let body = [kind, data].concat();
        [(data.len() as u32).to_be_bytes().as_slice(), &body, &crc32(&body).to_be_bytes()].concat()
    }

    fn adler32(data: &[u8]) -> u32 {
        let (a, b) = data.iter().fold((1, 0), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (b + a) % 65521)
        });
        b << 16 | a
    }

    pub(super) fn crc32(data: &[u8]) -> u32 {
        let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !data.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
    }
}

/// A video: ISO BMFF (ISO/IEC 14496-12) around H.264 baseline whose every macroblock is I_PCM, samples as they are.
///
/// Each picture is an IDR picture, so players can seek to any of them.
mod mp4 {
    const WIDTH: u16 = 160;
    const HEIGHT: u16 = 96;
    pub(super) const FRAMES: u32 = 120;
    const FRAME_MS: u32 = 125;
    const FRAMES_PER_CHUNK: u32 = 8;

    pub(super) fn clip() -> Vec<u8> {
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(frame).collect();
        let ftyp = boxed(b"ftyp", &[b"isom", &be(0x200), b"isomiso2avc1mp41"]);
        let media_at = ftyp.len() + moov(&frames, 0).len() + 8; // the offset's value does not change the size
        let mdat = boxed(b"mdat", &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        [ftyp, moov(&frames, media_at as u32), mdat].concat()
    }

    fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&be(body.len() as u32 + 8), kind.as_slice(), &body].concat()
    }

    fn be(value: u32) -> [u8; 4] {
        value.to_be_bytes()
    }

    fn table(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
        values.into_iter().flat_map(be).collect()
    }

    /// The movie header; the first frame begins at `media_at` in the file.
    fn moov(frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
        let duration = FRAMES * FRAME_MS;
        let matrix = table([0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
        let size = table([u32::from(WIDTH) << 16, u32::from(HEIGHT) << 16]);
        let mvhd = table([0, 0, 0, 1000, duration, 0x1_0000, 0x0100_0000, 0, 0]);
        let mvhd = boxed(b"mvhd", &[&mvhd, &matrix, &[0; 24], &be(2)]);
        let tkhd = table([3, 0, 0, 1, 0, duration, 0, 0, 0, 0]);
        let tkhd = boxed(b"tkhd", &[&tkhd, &matrix, &size]);
        let mdhd = boxed(b"mdhd", &[&table([0, 0, 0, 1000, duration, 0x55c4_0000])]); // language: und
        let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 12], b"video\0"]);
        let vmhd = boxed(b"vmhd", &[&table([1, 0, 0])]);
        let url = boxed(b"url ", &[&be(1)]); // the media is in this file
        let dinf = boxed(b"dinf", &[&boxed(b"dref", &[&table([0, 1]), &url])]);
        let minf = boxed(b"minf", &[&vmhd, &dinf, &stbl(frames, media_at)]);
        let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &minf])]);
        boxed(b"moov", &[&mvhd, &trak])
    }

    fn stbl(frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
        let (sps, pps) = (sps(), pps());
        let length = |nal: &[u8]| (nal.len() as u16).to_be_bytes();
        let avcc = [1, sps[1], sps[2], sps[3], 0xff, 0xe1]; // version, profile, level, 4-byte lengths, one SPS
        let avcc = boxed(b"avcC", &[&avcc, &length(&sps), &sps, &[1], &length(&pps), &pps]);
        let size = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
        let dpi = table([0x48_0000, 0x48_0000, 0]);
        let depth = [0, 24, 0xff, 0xff];
        let avc1 =
            boxed(b"avc1", &[&[0, 0, 0, 0, 0, 0, 0, 1], &[0; 16], &size, &dpi, &[0, 1], &[0; 32], &depth, &avcc]);
        let sizes = frames.iter().map(|frame| frame.len() as u32);
        let chunks = frames.chunks(FRAMES_PER_CHUNK as usize);
        let offsets = chunks.scan(media_at, |next, chunk| {
            let at = *next;
            *next += chunk.iter().map(|frame| frame.len() as u32).sum::<u32>();
            Some(at)
        });
        let stsd = boxed(b"stsd", &[&table([0, 1]), &avc1]);
        let stts = boxed(b"stts", &[&table([0, 1, FRAMES, FRAME_MS])]);
        let stss = boxed(b"stss", &[&table([0, FRAMES]), &table(1..=FRAMES)]);
        let stsc = boxed(b"stsc", &[&table([0, 1, 1, FRAMES_PER_CHUNK, 1])]);
        let stsz = boxed(b"stsz", &[&table([0, 0, FRAMES]), &table(sizes)]);
        let stco = boxed(b"stco", &[&table([0, FRAMES / FRAMES_PER_CHUNK]), &table(offsets)]);
        boxed(b"stbl", &[&stsd, &stts, &stss, &stsc, &stsz, &stco])
    }

    /// Picture `n` as one length-prefixed NAL unit: bars that drift over a gradient, and below it how far the clip is.
    fn frame(n: u32) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0).ue(7).ue(0).bits(0, 4).ue(n % 2); // first_mb, I slice, PPS, frame_num, idr_pic_id
        bits.bits(0, 2).ue(0).ue(1); // no long-term reference, slice_qp_delta, no deblocking
        let (width, height) = (u32::from(WIDTH), u32::from(HEIGHT));
        let luma = |x: u32, y: u32| match y {
            y if y >= height - 8 => {
                if x * FRAMES <= n * width {
                    235
                } else {
                    40
                }
            }
            _ if (x + y + n * 4) % 64 < 12 => 220,
            _ => 40 + x / 2 + y / 2,
        };
        let triangle = |value: u32| (value % 128).min(127 - value % 128);
        let blue = |x: u32, _: u32| 96 + triangle(x + n);
        let red = |_: u32, y: u32| 96 + triangle(y + n * 2);
        let planes: [&dyn Fn(u32, u32) -> u32; 2] = [&blue, &red];
        for (top, left) in (0..height / 16).flat_map(|row| (0..width / 16).map(move |column| (row * 16, column * 16))) {
            bits.ue(25).align(); // mb_type: I_PCM
            for (y, x) in (0..16).flat_map(|y| (0..16).map(move |x| (top + y, left + x))) {
                bits.bytes.push(luma(x, y) as u8);
            }
            for plane in planes {
                let colours = (0..8).flat_map(|y| (0..8).map(move |x| plane(left + x * 2, top + y * 2)));
                bits.bytes.extend(colours.map(|value| value as u8));
            }
        }
        let unit = bits.unit(0x65);
        [be(unit.len() as u32).as_slice(), &unit].concat()
    }

    fn sps() -> Vec<u8> {
        let mut bits = Bits::default();
        bits.bits(66, 8).bits(0xc0, 8).bits(30, 8); // constrained baseline, level 3
        bits.ue(0).ue(0).ue(2).ue(1).bits(0, 1); // id, 4-bit frame_num, decoding order, one reference, no gaps
        bits.ue(u32::from(WIDTH) / 16 - 1).ue(u32::from(HEIGHT) / 16 - 1);
        bits.bits(0b1100, 4); // whole frames, direct_8x8_inference, no cropping, no VUI
        bits.unit(0x67)
    }

    fn pps() -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0).ue(0).bits(0, 2).ue(0).ue(0).ue(0).bits(0, 3); // ids, CAVLC, one slice group, no weights
        bits.ue(0).ue(0).ue(0).bits(0b100, 3); // quantizers, deblocking_filter_control_present
        bits.unit(0x68)
    }

    /// Writes the syntax elements of H.264 (clause 7.2), the highest bit first.
    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        /// Bits of the last byte that are taken; 0 when it is full.
        taken: u32,
    }

    impl Bits {
        fn bits(&mut self, value: u32, count: u32) -> &mut Self {
            for bit in (0..count).rev().map(|shift| value >> shift & 1) {
                if self.taken == 0 {
                    self.bytes.push(0);
                }
                *self.bytes.last_mut().expect("just pushed, or not full") |= (bit as u8) << (7 - self.taken);
                self.taken = (self.taken + 1) % 8;
            }
            self
        }

        /// ue(v), and se(v) of 0: Exp-Golomb (clause 9.1).
        fn ue(&mut self, value: u32) -> &mut Self {
            let length = (value + 1).ilog2();
            self.bits(0, length).bits(value + 1, length + 1)
        }

        /// Zeros up to the next byte.
        fn align(&mut self) {
            self.taken = 0;
        }

        /// The NAL unit (clause 7.4.1): header, trailing bits, and no three bytes that look like a start code.
        fn unit(mut self, header: u8) -> Vec<u8> {
            self.bits(1, 1);
            let mut unit = vec![header];
            for byte in self.bytes {
                if byte <= 3 && unit.ends_with(&[0, 0]) {
                    unit.push(3);
                }
                unit.push(byte);
            }
            unit
        }
    }
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
    fn the_clip_can_be_played_from_any_frame() {
        let clip = mp4::clip();
        assert!((2_000_000..4_000_000).contains(&clip.len()), "{}", clip.len());
        let kinds: Vec<_> = boxes(&clip).iter().map(|found| found.0).collect();
        assert_eq!(kinds, [b"ftyp", b"moov", b"mdat"], "the header is in front of the media");
        let stbl = inside(&clip, &["moov", "trak", "mdia", "minf", "stbl"]);
        let [stsz, stss, stsc, stco] = ["stsz", "stss", "stsc", "stco"].map(|kind| inside(stbl, &[kind]));
        let frames = mp4::FRAMES as usize;
        assert_eq!([number(stsz, 2), number(stss, 1), number(stco, 1) * number(stsc, 3)], [frames; 3]);
        let mut at = clip.len() - inside(&clip, &["mdat"]).len();
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
        sorted.sort();
        assert_eq!(list_objects(dir.path(), usize::MAX).unwrap(), sorted, "and nothing else is left behind");
    }

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
