//! Scripts, which run as one command each.

use super::{Keys, connection::Connection, failure};
use crate::backplane::Failure;
use redis::{Cmd, FromRedisValue, Value};

pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs the script by its hash, or sends its text if the server does not have it: it then keeps it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &Connection,
        keys: &Keys,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, Failure> {
        let command = |name, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(2).arg(&keys.log).arg(&keys.meta);
            arguments(&mut command);
            command
        };
        let by_hash = command("EVALSHA", &self.hash);
        let answer = match connection.ask_any(&by_hash).await? {
            Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                connection.ask(&command("EVAL", self.text)).await?
            }
            Value::ServerError(error) => return Err(failure::answered(&connection.name, &error)),
            answer => answer,
        };
        failure::expected(&connection.name, answer)
    }
}
