//! A request line and header fields, one a line, through the whole decision.
//!
//! Nothing may panic, and nobody gets in: no input knows the secret.
#![no_main]

mod demo;

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use libfuzzer_sys::fuzz_target;
use mediagate::gate::Decision;
use mediagate::restrictions::{Event, RestrictionSet};

static RESTRICTIONS: LazyLock<RestrictionSet> = LazyLock::new(|| {
    let set = RestrictionSet::new([1, 2], *demo::START);
    set.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, *demo::START);
    set
});

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut words = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method), Uri::try_from(target)) else { return };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    let request = request.into_parts().0;
    match demo::GATE.admit(&request, &RESTRICTIONS, demo::now()) {
        Ok(Decision::Forward(admission)) => panic!("{admission:?} for nothing"),
        Ok(Decision::HandOut(handout)) => panic!("{handout:?} for nothing"),
        Ok(Decision::Options) => assert_eq!(request.method, Method::OPTIONS),
        Err(refusal) => assert!((400..=503).contains(&refusal.denial.status())),
    }
});
