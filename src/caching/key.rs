//! Under what a copy is kept: app and object, and the place that it came from; never a token or a user.

use crate::gate::{ObjectPath, Target};

/// The name of one object of one app at one place.
///
/// With the place in it, an app that is moved to another storage does not see what the old one had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CopyKey {
    /// App and key, a line break, which neither has, and the place.
    text: Box<str>,
    app_len: u16,
    object_len: u16,
}

impl CopyKey {
    /// Returns the key of `object`, which `target` fetches. Of its presigned URL only the path is in it.
    pub fn of(object: &ObjectPath, target: &Target) -> CopyKey {
        let place = target.path_and_query();
        let path = place.split('?').next().unwrap_or_default();
        CopyKey::new(object.app(), object.as_str(), target.endpoint().tls, target.host(), path)
    }

    fn new(app: &str, object: &str, tls: bool, host: &str, path: &str) -> CopyKey {
        let scheme = if tls { "\ns" } else { "\n-" };
        let text = [object, scheme, host, path].concat().into_boxed_str();
        // An object's key is at most 1024 bytes long, and an app's id 255.
        CopyKey { text, app_len: app.len() as u16, object_len: object.len() as u16 }
    }

    /// The app.
    pub fn app(&self) -> &str {
        &self.text[..usize::from(self.app_len)]
    }

    /// The object's key below its app.
    pub fn key(&self) -> &str {
        &self.text[usize::from(self.app_len) + 1..usize::from(self.object_len)]
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_app_object_or_place_is_another_key() {
        let key = |app: &str, object: &str, tls, host: &str, path: &str| CopyKey::new(app, object, tls, host, path);
        let one = key("acme", "acme/media/a.jpg", false, "s3:9000", "/media/a.jpg");
        assert_eq!((one.app(), one.key()), ("acme", "media/a.jpg"));
        assert_eq!(one, key("acme", "acme/media/a.jpg", false, "s3:9000", "/media/a.jpg"));
        for other in [
            key("demo", "demo/media/a.jpg", false, "s3:9000", "/media/a.jpg"),
            key("acme", "acme/media/b.jpg", false, "s3:9000", "/media/a.jpg"),
            key("acme", "acme/media/a.jpg", true, "s3:9000", "/media/a.jpg"),
            key("acme", "acme/media/a.jpg", false, "s3:9001", "/media/a.jpg"),
            key("acme", "acme/media/a.jpg", false, "s3:9000", "/other/a.jpg"),
            key("acme", "acme/media/a.jpgs3", false, ":9000", "/media/a.jpg"),
        ] {
            assert_ne!(one, other);
        }
    }
}
