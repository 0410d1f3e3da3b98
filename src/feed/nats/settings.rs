//! How the stream is set up.

use std::time::Duration;

use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::link::{Link, failed};
use super::subjects::Subjects;
use crate::feed::BrokerError;

/// How long the server remembers ids: long enough for the one of the last message, which is all that is asked for.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(1);

fn wanted(subjects: &Subjects, replicas: usize) -> Config {
    Config {
        name: subjects.stream.clone(),
        description: Some("mediagate: restrictions".to_owned()),
        subjects: vec![subjects.all.clone()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_messages_per_subject: 1,
        max_messages: -1,
        max_bytes: -1,
        num_replicas: replicas,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// Makes the stream, unless another relay just has.
pub(super) async fn create(link: &Link, replicas: usize) -> Result<(), BrokerError> {
    let create = async {
        match link.context.create_stream(wanted(&link.subjects, replicas)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                CreateStreamErrorKind::JetStream(error) => failed(&error),
                CreateStreamErrorKind::TimedOut => BrokerError::Unreachable(error.to_string()),
                _ => BrokerError::Failed(error.to_string()),
            }),
        }
    };
    link.permitted(create).await
}

/// Checks that an existing stream keeps what has to be kept.
///
/// # Errors
///
/// [`BrokerError::Failed`] with the first setting that is another.
pub(super) fn check(found: &Config, subjects: &Subjects, replicas: usize) -> Result<(), BrokerError> {
    let wanted = wanted(subjects, replicas);
    // "No limit" is written as -1 or 0.
    let limits = |config: &Config| {
        [config.max_messages, config.max_bytes, i64::from(config.max_message_size)].map(|limit| limit.max(0))
    };
    let differing = [
        ("subjects", found.subjects != wanted.subjects),
        ("max_msgs_per_subject", found.max_messages_per_subject != 1),
        ("storage", found.storage != wanted.storage),
        ("retention", found.retention != wanted.retention),
        ("discard", found.discard != wanted.discard),
        ("max_age", found.max_age != wanted.max_age),
        ("max_msgs, max_bytes or max_msg_size", limits(found) != [0; 3]),
        ("num_replicas", found.num_replicas != wanted.num_replicas),
        ("no_ack", found.no_ack),
        ("sealed", found.sealed),
        ("deny_purge", found.deny_purge),
        ("mirror or sources", found.mirror.is_some() || found.sources.as_ref().is_some_and(|all| !all.is_empty())),
        ("subject_transform", found.subject_transform.is_some()),
    ];
    match differing.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((name, _)) => Err(BrokerError::Failed(format!(
            "the stream {} exists and its {name} cannot be used; delete it, or choose another prefix",
            subjects.stream
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_other_settings_is_named() {
        let subjects = Subjects::new("m").expect("a prefix");
        let good = wanted(&subjects, 3);
        assert!(check(&good, &subjects, 3).is_ok());
        for (name, bad) in [
            ("subjects", Config { subjects: vec!["m.>".into()], ..good.clone() }),
            ("max_msgs_per_subject", Config { max_messages_per_subject: 2, ..good.clone() }),
            ("storage", Config { storage: StorageType::Memory, ..good.clone() }),
            ("max_age", Config { max_age: Duration::from_secs(1), ..good.clone() }),
            ("max_bytes", Config { max_bytes: 1, ..good.clone() }),
            ("num_replicas", Config { num_replicas: 1, ..good.clone() }),
        ] {
            let error = check(&bad, &subjects, 3).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
