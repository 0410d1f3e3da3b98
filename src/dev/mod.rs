//! What `mediagate dev` embeds: an S3 server over a folder, and sample files to look at.
//!
//! Nothing here is on the path of a request in production.

pub mod s3;
pub mod samples;
