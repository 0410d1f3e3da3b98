//! Requests without a token, for what was shared before links had tokens: told by the object's own date.

use std::time::SystemTime;

use http::header::{self, HeaderMap};

use super::{Exchange, MediaFilter};
use crate::gate::{Denial, was_modified_before};

impl MediaFilter {
    /// Whether the object that a request without a token asks for is known to be too new for that.
    pub(super) fn is_known_newer(&self, exchange: &Exchange) -> bool {
        self.dated_object(exchange).is_some_and(|object| self.newer.get(&object).is_some())
    }

    /// A number for the object and the date that it is compared with.
    fn dated_object(&self, exchange: &Exchange) -> Option<(u64, SystemTime)> {
        let (object, time) = (exchange.trace.object.as_ref()?, exchange.modified_before?);
        Some((self.shared.restrictions.object_number(object.as_str()), time))
    }

    /// Refuses a request without a token for an object that is too new for that by `fields`; one that is only observed is
    /// noted so.
    pub(super) fn check_date(&self, fields: &HeaderMap, exchange: &mut Exchange) -> Result<(), Denial> {
        let Some(time) = exchange.modified_before else { return Ok(()) };
        let is_old = was_modified_before(fields, time);
        if exchange.observed.is_some() {
            exchange.observed = exchange.observed.filter(|_| !is_old);
            return Ok(());
        }
        if is_old {
            return Ok(());
        }
        // Not where the storage says nothing: an object may come, or its date.
        if fields.contains_key(header::LAST_MODIFIED)
            && let Some(object) = self.dated_object(exchange)
        {
            self.newer.insert(object, ());
        }
        Err(Denial::TokenMissing)
    }
}
