//! The head of a request: judged alike however it is cut into pieces, and strict when it is complete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediagate::gate::{HeadCheck, Progress};

fuzz_target!(|input: &[u8]| {
    let whole = HeadCheck::default().take(input);
    let mut check = HeadCheck::default();
    let mut pieces = Ok(Progress::Partial);
    for byte in input {
        pieces = check.take(std::slice::from_ref(byte));
        if pieces != Ok(Progress::Partial) {
            break;
        }
    }
    assert_eq!(whole, pieces);

    if whole == Ok(Progress::Complete) {
        let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an empty line") + 4;
        let head = &input[..end];
        // Carriage returns and line feeds stand in pairs, and no line is folded.
        let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
        for line in &lines[..lines.len() - 1] {
            let text = line.strip_suffix(b"\r").expect("a line ends in both");
            assert!(!text.contains(&b'\r') && !text.contains(&0));
            assert!(!text.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')));
        }
    }
});
