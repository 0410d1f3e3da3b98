//! The whole decision, through [`Gate::admit`], without a socket.

pub(crate) mod keys;
