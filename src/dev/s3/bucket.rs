//! The bucket: which file a key names, and what `s3s` is told about it.

use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use s3s::dto::{GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::Paced;
use super::conditions::Conditions;
use super::object::{FileBody, Object};

/// The bucket: a folder, read where it is.
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) bucket: String,
    pub(super) paced: Option<Paced>,
}

#[async_trait::async_trait]
impl S3 for Folder {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut object = self.open(&request.input.bucket, &request.input.key).await?;
        let conditions = request.extensions.get::<Conditions>().cloned().unwrap_or_default();
        conditions.check(&object)?;
        let mut output = GetObjectOutput { content_length: Some(object.len.cast_signed()), ..Default::default() };
        let mut left = object.len;
        if let Some(range) = conditions.range(&object) {
            let (first, end) = match range.check(object.len) {
                Ok(range) if !range.is_empty() => (range.start, range.end),
                _ => return Err(object.error(S3ErrorCode::InvalidRange)),
            };
            object.file.seek(SeekFrom::Start(first)).map_err(S3Error::internal_error)?;
            left = end - first;
            output.content_length = Some(left.cast_signed());
            output.content_range = Some(format!("bytes {first}-{}/{}", end - 1, object.len));
        }
        output.accept_ranges = Some("bytes".to_owned());
        output.content_type = Some(content_type(&request.input.key).to_owned());
        output.e_tag = Some(object.e_tag());
        output.last_modified = Some(object.last_modified);
        let pace = self.paced.as_ref().filter(|paced| paced.key == request.input.key);
        let body = FileBody::new(object.file, left, pace.map(|paced| paced.bytes_per_second));
        output.body = Some(StreamingBlob::from(Body::http_body(body)));
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.open(&request.input.bucket, &request.input.key).await?;
        request.extensions.get::<Conditions>().cloned().unwrap_or_default().check(&object)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.len.cast_signed()),
            content_type: Some(content_type(&request.input.key).to_owned()),
            e_tag: Some(object.e_tag()),
            last_modified: Some(object.last_modified),
            ..Default::default()
        }))
    }
}

impl Folder {
    /// Opens the file that is the object.
    async fn open(&self, bucket: &str, key: &str) -> S3Result<Object> {
        if bucket != self.bucket {
            return Err(S3ErrorCode::NoSuchBucket.into());
        }
        let path = path_of(&self.dir, key).ok_or(S3ErrorCode::NoSuchKey)?;
        let dir = self.dir.clone();
        let opened = tokio::task::spawn_blocking(move || Object::open(&dir, &path)).await;
        opened.map_err(S3Error::internal_error)?.map_err(|_| S3ErrorCode::NoSuchKey.into())
    }
}

/// Where the object is, or `None` for a key that no file has: a key names files below `dir` only.
fn path_of(dir: &Path, key: &str) -> Option<PathBuf> {
    let names = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    key.split('/').all(names).then(|| dir.join(key))
}

/// What a browser should take the file for.
fn content_type(key: &str) -> &'static str {
    let extension = key.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" => "video/mp2t",
        "txt" => "text/plain; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}
