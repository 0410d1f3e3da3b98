//! The files beside the pages. Their names change with what is in them, so browsers keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use http::header;
use sha2::{Digest, Sha256};

use super::{Failure, not_found};
use crate::restrictions::hex;

const KEPT: &str = "public, max-age=31536000, immutable";

/// A file of the pages.
pub(super) struct Asset {
    name: String,
    content_type: &'static str,
    content: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));
pub(super) static DATA: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("data", "css", "text/css; charset=utf-8", include_str!("data.css")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Asset {
        let digest = hex(&Sha256::digest(content)[..8]);
        Asset { name: format!("{stem}-{digest}.{extension}"), content_type, content }
    }

    pub(super) fn path(&self) -> String {
        format!("/dashboard/assets/{}", self.name)
    }
}

/// `GET /dashboard/assets/{name}`.
pub(super) async fn get(name: Result<Path<String>, PathRejection>) -> Result<Response, Failure> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    match [&*STYLE, &*DATA, &*ICON].into_iter().find(|asset| asset.name == name) {
        None => Err(not_found().await),
        Some(asset) => {
            let fields = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, KEPT)];
            Ok((fields, asset.content).into_response())
        }
    }
}
