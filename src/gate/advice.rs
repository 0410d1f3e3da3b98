//! What a person can do who opened a link and was refused. They know nothing of tokens, and need not.

use super::denial::Denial;
use super::forward::StorageFailure;
use super::object_key::PathError;

/// What a page says to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What happened, in a few words.
    pub title: &'static str,
    /// What to do.
    pub text: &'static str,
}

impl Advice {
    /// The file is no longer what the browser takes it for.
    pub const CHANGED: Advice =
        Advice { title: "The file has changed", text: "Reload the page that you came from, and open the file again." };

    /// The gate or its storage is not as it should be.
    pub const BROKEN: Advice = Advice {
        title: "Something is broken here",
        text: "Nothing is wrong with your link. Please tell the administrator, with what stands below.",
    };

    const INCOMPLETE: Advice = Advice {
        title: "This link is not complete",
        text: "A file here opens with a link of your own. Go back to the chat or page where you found it, and open the file \
               from there; a link that was copied by hand may have lost its end.",
    };

    const DAMAGED: Advice = Advice {
        title: "This link does not work",
        text: "It was changed or cut off on its way. Go back to the chat or page where you found it, reload it, and open the \
               file from there.",
    };

    const EXPIRED: Advice = Advice {
        title: "This link has expired",
        text: "Links to files are good for some time only. Go back to the chat or page where you found it, reload it, and \
               open the file again: that makes a new link. If somebody sent you the link, ask for a new one.",
    };

    const OTHER_FILE: Advice = Advice {
        title: "This link is for another file",
        text: "Go back to the chat or page where you found it, and open the file from there. If you should have access and \
               do not, ask whoever shared it.",
    };

    const DEACTIVATED: Advice = Advice {
        title: "This account is deactivated",
        text: "All of its links have ended. If that is a mistake, ask your administrator to activate the account again; then \
               the link works as before.",
    };

    const SWITCHED_OFF: Advice =
        Advice { title: "This service is switched off", text: "Ask your administrator when it comes back." };

    const SIGNED_OUT: Advice = Advice {
        title: "You have been signed out",
        text: "The link belongs to a session that has ended. Sign in again, reload the chat or page where you found it, and \
               open the file from there.",
    };

    const NOT_SIGNED_IN: Advice = Advice {
        title: "You are not signed in",
        text: "Files here open only for who is signed in. Sign in to the platform, and open the link again.",
    };

    const OTHER_USER: Advice = Advice {
        title: "This link is for somebody else",
        text: "It was made for another account than the one that you are signed in to. Open the file from your own chat or page, \
               or ask whoever shared it for a link of your own.",
    };

    const NO_LOGIN: Advice = Advice {
        title: "Signing in did not work",
        text: "It took too long, or began in another browser. Open the link that you came from once more, and sign in again.",
    };

    const NO_SUCH_FILE: Advice = Advice {
        title: "There is no such file",
        text: "It may have been deleted, or the link is mistyped. Ask whoever shared it.",
    };

    const NO_ACCESS: Advice = Advice {
        title: "No access",
        text: "The program that opened the link has no right to. Tell its administrator.",
    };

    const TROUBLE: Advice = Advice {
        title: "Not available right now",
        text: "Nothing is wrong with your link. Wait a moment and reload this page. If it goes on, tell the administrator.",
    };

    const UNUSUAL: Advice = Advice {
        title: "This cannot be answered",
        text: "The link or the program that opened it is not as it should be. Go back to the chat or page where you found the \
               link, and open it from there.",
    };
}

impl Denial {
    /// What a person reads and can do.
    pub const fn advice(self) -> Advice {
        match self {
            Denial::Path(PathError::NoObject) | Denial::UnknownApp => Advice::NO_SUCH_FILE,
            Denial::Path(_) | Denial::UnknownOrigin | Denial::TokenInvalid(_) | Denial::UrlInvalid => Advice::DAMAGED,
            Denial::SessionMissing | Denial::SessionInvalid(_) | Denial::SessionEnded => Advice::NOT_SIGNED_IN,
            Denial::OtherUser => Advice::OTHER_USER,
            Denial::LoginFailed => Advice::NO_LOGIN,
            Denial::BadRequest(_)
            | Denial::UnknownHost
            | Denial::MethodNotAllowed
            | Denial::UriTooLong
            | Denial::HeadersTooLarge => Advice::UNUSUAL,
            Denial::TokenMissing => Advice::INCOMPLETE,
            Denial::TokenExpired | Denial::UrlExpired => Advice::EXPIRED,
            Denial::OtherApp | Denial::PathNotAllowed => Advice::OTHER_FILE,
            Denial::AppDeactivated => Advice::SWITCHED_OFF,
            Denial::UserDeactivated => Advice::DEACTIVATED,
            Denial::SessionRevoked | Denial::TokenRevoked => Advice::SIGNED_OUT,
            Denial::ApiKeyUnknown => Advice::NO_ACCESS,
            Denial::RestrictionsStale | Denial::PlatformUnavailable => Advice::TROUBLE,
        }
    }
}

impl StorageFailure {
    /// What a person reads and can do.
    pub const fn advice(self) -> Advice {
        match self {
            StorageFailure::NotFound => Advice::NO_SUCH_FILE,
            StorageFailure::Refused => Advice::BROKEN,
            StorageFailure::ForeignRefused => Advice::EXPIRED,
            StorageFailure::Busy
            | StorageFailure::BadAnswer
            | StorageFailure::Unreachable
            | StorageFailure::TimedOut => Advice::TROUBLE,
        }
    }
}
