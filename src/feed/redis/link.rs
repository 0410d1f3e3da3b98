//! One connection that is made when it is needed and given up when anything is wrong with it.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation,
    ServerErrorKind, Value,
};

use super::RedisOptions;
use crate::feed::BrokerError;

/// A connection, or none for now. A call that is dropped leaves it usable.
pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    connection: Option<MultiplexedConnection>,
}

impl Link {
    /// Returns a link that waits `blocking` longer for an answer than the options say.
    pub(super) fn new(options: &RedisOptions, blocking: Duration) -> Result<Link, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout + blocking));
        Ok(Link { client: options.client()?, config, connection: None })
    }

    async fn connection(&mut self) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        self.checked(answer)
    }

    /// Runs `commands` one after the other, others between them; returns their answers.
    pub(super) async fn run_all<T: FromRedisValue>(&mut self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answers = commands.query_async(&mut connection).await;
        self.checked(answers)
    }

    /// Runs `commands` with nothing in between; returns their answers.
    ///
    /// MULTI and EXEC go as commands like others: the transactions of this version of `redis` panic, or count wrong,
    /// when MULTI itself is refused.
    pub(super) async fn run_together<T: FromRedisValue>(&mut self, commands: &[Cmd]) -> RedisResult<T> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        for command in commands {
            pipeline.add_command(command.clone());
        }
        pipeline.cmd("EXEC");
        let mut connection = self.connection().await?;
        let answers: RedisResult<Vec<Value>> = pipeline.query_async(&mut connection).await;
        let answer = answers.and_then(|mut answers| {
            let last = answers.pop().ok_or_else(|| unexpected("EXEC"))?;
            Ok(redis::from_redis_value(last.extract_error()?)?)
        });
        self.checked(answer)
    }

    /// Runs a script by its hash; sends it where the server does not know it.
    pub(super) async fn script<T: FromRedisValue>(&mut self, script: &ScriptInvocation<'_>) -> RedisResult<T> {
        let mut connection = self.connection().await?;
        let answer = script.invoke_async(&mut connection).await;
        self.checked(answer)
    }

    /// After an error the next call connects anew: the name may stand for another server by then.
    fn checked<T>(&mut self, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.is_err() {
            self.close();
        }
        answer
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }
}

/// What an error means to those who asked. Secrets are in none of its texts.
pub(super) fn broker_error(error: &RedisError) -> BrokerError {
    if let Some(refusal) = refusal(error) {
        return BrokerError::Refused(refusal);
    }
    match error.kind() {
        // The text is the server's and may repeat what it was sent.
        ErrorKind::AuthenticationFailed => BrokerError::Refused("it does not accept the user name or password".into()),
        ErrorKind::Io => BrokerError::Unreachable(error.to_string()),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => BrokerError::Unreachable(error.to_string()),
        _ => BrokerError::Failed(error.to_string()),
    }
}

/// What the server does not let us do, or that it asks for a password that we do not have.
fn refusal(error: &RedisError) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    let (_, refusal) = errors.iter().find(|(_, error)| ["NOAUTH", "NOPERM", "WRONGPASS"].contains(&error.code()))?;
    Some(format!("{} {}", refusal.code(), refusal.details().unwrap_or_default()))
}

/// What cannot be: an answer that no server gives.
pub(super) fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, what))
}

/// Lets something be said once a minute.
#[derive(Debug, Default)]
pub(super) struct Throttle(Option<Instant>);

impl Throttle {
    const PAUSE: Duration = Duration::from_secs(60);

    /// Calls `say` unless it was called within the last minute.
    pub(super) fn run(&mut self, say: impl FnOnce()) {
        if self.0.is_none_or(|last| last.elapsed() >= Throttle::PAUSE) {
            self.0 = Some(Instant::now());
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_can_be_done() {
        let check = |kind, expected: &str| {
            let error = broker_error(&RedisError::from((kind, "what", "hunter2".to_owned())));
            assert!(error.to_string().starts_with(expected), "{error}");
            error.to_string()
        };
        assert!(!check(ErrorKind::AuthenticationFailed, "the broker refuses: it does not accept").contains("hunter2"));
        check(ErrorKind::Io, "cannot reach");
        check(ErrorKind::UnexpectedReturnType, "the broker failed");
        for (line, expected) in [
            ("-NOPERM no\r\n", "the broker refuses"),
            ("-NOAUTH no\r\n", "the broker refuses"),
            ("-LOADING later\r\n", "cannot reach"),
            ("-READONLY replica\r\n", "cannot reach"),
            ("-WRONGTYPE no\r\n", "the broker failed"),
        ] {
            let error = redis::parse_redis_value(line.as_bytes()).and_then(redis::Value::extract_error);
            let error = broker_error(&error.expect_err(line));
            assert!(error.to_string().starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_throttle_lets_the_first_pass() {
        let (mut throttle, mut said) = (Throttle::default(), 0);
        throttle.run(|| said += 1);
        throttle.run(|| said += 1);
        assert_eq!(said, 1);
    }
}
