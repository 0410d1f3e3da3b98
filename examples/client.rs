//! Logs a user in and opens a file in each of the three modes.
//!
//! ```sh
//! mediagate dev      # in another terminal; then, with a user of its own:
//! curl -s http://127.0.0.1:8081/v3/users -H "apikey: $(cat .mediagate/secrets/backend.key)" \
//!      -H 'Content-Type: application/json' -d '{"uid":"carol","name":"Carol","withAuthToken":true}'
//! cargo run --no-default-features --features client --example client -- <authToken>
//! ```

use mediagate::client::{Client, ClientError, ClientOptions, SecureMediaMode};

const CONTROL: &str = "http://127.0.0.1:8081";
const MEDIA: &str = "http://127.0.0.1:8080/demo/media/picture.png";
const MAX_BYTES: usize = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let Some(auth_token) = std::env::args().nth(1) else {
        eprintln!("usage: client AUTH_TOKEN [MEDIA_URL]");
        std::process::exit(2);
    };
    let url = std::env::args().nth(2).unwrap_or_else(|| MEDIA.to_owned());
    for mode in [SecureMediaMode::Embedded, SecureMediaMode::HeaderBased, SecureMediaMode::Presigned] {
        let client = Client::new(ClientOptions::new(CONTROL, "demo", mode))?;
        let session = client.login(&auth_token).await?;
        println!("{mode:?}: {}, needs a token: {}", session.uid(), client.requires_secure_access(&url));
        let media = client.get(&url).await?;
        let status = media.status();
        println!("  {status}, {} bytes", media.bytes(MAX_BYTES).await?.len());
    }
    Ok(())
}
