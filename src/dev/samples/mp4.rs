//! Videos: ISO BMFF (ISO/IEC 14496-12) around H.264 baseline whose every macroblock is I_PCM, samples as they are.
//!
//! Each picture is an IDR picture, so players can seek to any of them.

const WIDTH: u16 = 160;
const HEIGHT: u16 = 96;
const FRAMES_PER_CHUNK: u32 = 8;

/// How long a video is, and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Film {
    /// A whole number of chunks.
    pub(super) frames: u32,
    pub(super) frame_ms: u32,
}

/// 15 seconds, for players that seek.
pub(super) const CLIP: Film = Film { frames: 120, frame_ms: 125 };

/// Two and a half minutes, for somebody who looks on.
pub(super) const STREAM: Film = Film { frames: 600, frame_ms: 250 };

impl Film {
    pub(super) fn bytes(self) -> Vec<u8> {
        let frames: Vec<Vec<u8>> = (0..self.frames).map(|n| self.frame(n)).collect();
        let ftyp = boxed(b"ftyp", &[b"isom", &be(0x200), b"isomiso2avc1mp41"]);
        let media_at = ftyp.len() + self.moov(&frames, 0).len() + 8; // the offset's value does not change the size
        let mdat = boxed(b"mdat", &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        [ftyp, self.moov(&frames, media_at as u32), mdat].concat()
    }

    /// The movie header; the first frame begins at `media_at` in the file.
    fn moov(self, frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
        let duration = self.frames * self.frame_ms;
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
        let minf = boxed(b"minf", &[&vmhd, &dinf, &self.stbl(frames, media_at)]);
        let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &minf])]);
        boxed(b"moov", &[&mvhd, &trak])
    }

    fn stbl(self, frames: &[Vec<u8>], media_at: u32) -> Vec<u8> {
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
        let stts = boxed(b"stts", &[&table([0, 1, self.frames, self.frame_ms])]);
        let stss = boxed(b"stss", &[&table([0, self.frames]), &table(1..=self.frames)]);
        let stsc = boxed(b"stsc", &[&table([0, 1, 1, FRAMES_PER_CHUNK, 1])]);
        let stsz = boxed(b"stsz", &[&table([0, 0, self.frames]), &table(sizes)]);
        let stco = boxed(b"stco", &[&table([0, self.frames / FRAMES_PER_CHUNK]), &table(offsets)]);
        boxed(b"stbl", &[&stsd, &stts, &stss, &stsc, &stsz, &stco])
    }

    /// Picture `n` as one length-prefixed NAL unit: bars that drift over a gradient, and below it how far the clip is.
    fn frame(self, n: u32) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0).ue(7).ue(0).bits(0, 4).ue(n % 2); // first_mb, I slice, PPS, frame_num, idr_pic_id
        bits.bits(0, 2).ue(0).ue(1); // no long-term reference, slice_qp_delta, no deblocking
        let (width, height) = (u32::from(WIDTH), u32::from(HEIGHT));
        let luma = |x: u32, y: u32| match y {
            y if y >= height - 8 => {
                if x * self.frames <= n * width {
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
