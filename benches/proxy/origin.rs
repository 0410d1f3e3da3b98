//! A storage that does as little as one can: it answers every request with an object that is ready, and says what S3 says.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves until the process ends, on one thread.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        let answers: &'static [Vec<u8>; 2] = Box::leak(Box::new([answer(1 << 10), answer(1 << 20)]));
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers));
            }
        }
    });
}

/// The answer of S3 to a `GET`, with everything that it says about itself.
fn answer(bytes: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n\
         x-amz-id-2: uGqPbpl5q8f3FQJwZ1mB6zVQyJp3DkzbWg1s8xY0f5lQ7o2Tn9rE4aHc6iKvUdMe\r\n\
         x-amz-request-id: 4442587FB7D0A2F9\r\n\
         Date: Sat, 21 Nov 2026 13:24:27 GMT\r\n\
         Last-Modified: Fri, 20 Nov 2026 09:11:40 GMT\r\n\
         ETag: \"fba9dede5f27731c9771645a39863328\"\r\n\
         x-amz-server-side-encryption: AES256\r\n\
         x-amz-version-id: 3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY\r\n\
         Accept-Ranges: bytes\r\n\
         Content-Type: image/jpeg\r\n\
         Content-Length: {bytes}\r\n\
         Server: AmazonS3\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

async fn serve(mut stream: TcpStream, answers: &[Vec<u8>; 2]) {
    let _ = stream.set_nodelay(true);
    let mut head = Vec::with_capacity(8192);
    loop {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if head.ends_with(b"\r\n\r\n") {
            let is_large = head.split(|byte| *byte == b' ').nth(1).is_some_and(|target| contains(target, b"/large/"));
            if stream.write_all(&answers[usize::from(is_large)]).await.is_err() {
                return;
            }
            head.clear();
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
