//! A picture: PNG (W3C PNG, RFC 1950, RFC 1951) whose image data is stored, not compressed.

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
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &zlib), &chunk(b"IEND", b"")].concat()
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
