//! A user id that a decision keeps for the log, where most take no memory of their own.

use std::fmt;
use std::ops::Deref;

/// Bytes that are kept in place: a UUID, and most of what else names a user.
const IN_PLACE: usize = 46;

/// A user, as the app compares it: 1 to 255 visible ASCII characters.
#[derive(Clone)]
pub struct Uid(Kept);

#[derive(Clone)]
enum Kept {
    Here { len: u8, bytes: [u8; IN_PLACE] },
    Apart(Box<str>),
}

impl Uid {
    /// Takes `uid`, which was checked.
    pub(super) fn new(uid: &str) -> Uid {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..uid.len()), u8::try_from(uid.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(uid.as_bytes());
                Uid(Kept::Here { len, bytes })
            }
            _ => Uid(Kept::Apart(uid.into())),
        }
    }
}

impl Deref for Uid {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            // It was text when it came.
            Kept::Here { len, bytes } => std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default(),
            Kept::Apart(uid) => uid,
        }
    }
}

impl PartialEq for Uid {
    fn eq(&self, other: &Uid) -> bool {
        **self == **other
    }
}

impl Eq for Uid {}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_of_any_length_is_kept_as_it_is() {
        for len in [1, 36, IN_PLACE - 1, IN_PLACE, IN_PLACE + 1, 255] {
            let (uid, other) = ("u".repeat(len), "v".repeat(len));
            assert_eq!(&*Uid::new(&uid), uid);
            assert_eq!(Uid::new(&uid), Uid::new(&uid).clone());
            assert_ne!(Uid::new(&uid), Uid::new(&other));
            assert_eq!(matches!(Uid::new(&uid).0, Kept::Here { .. }), len <= IN_PLACE);
        }
    }
}
