//! A client that a proxy holds.

use super::{
    instructions::{Held, Instructions},
    item::{Action, Item},
    requests::{LinkAnswer, LinkRequest, Requests},
};
use axum::Router;
use bytes::Bytes;
use http::Uri;
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep, sleep_until},
};

/// Bytes for the client, or the error that breaks its connection.
pub(super) type Written = Result<Bytes, &'static str>;

pub(super) enum Command {
    Item(Arc<Item>),
    /// Follows the next link, as after a poll interval.
    Poll,
    /// Breaks the connection to the client.
    Break,
}

pub(super) struct Hold {
    pub(super) requests: Arc<Requests>,
    pub(super) app: Router,
    pub(super) uri: Uri,
    pub(super) instructions: Instructions,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) body: UnboundedSender<Written>,
    /// Time of the last write or poll.
    pub(super) last: Instant,
}

/// The client's stream has ended.
struct Ended;

impl Hold {
    /// Runs until the client disconnects, or the stream ends. If the client is `behind`, follows the next link
    /// first.
    pub(super) async fn run(mut self, behind: bool) {
        let mut state = Ok(());
        if behind || !self.instructions.is_stream() {
            state = self.follow_link().await;
        }
        while state.is_ok() {
            let (keep_alive, poll) = (self.keep_alive_at(), self.poll_at());
            tokio::select! {
                biased;
                () = self.body.closed() => return,
                command = self.commands.recv() => state = self.handle(command).await,
                () = at(poll) => state = self.follow_link().await,
                () = at(keep_alive) => self.keep_alive(),
            }
        }
    }

    fn keep_alive_at(&self) -> Option<Instant> {
        let (_, after) = self.instructions.keep_alive.as_ref()?;
        Some(self.last + *after)
    }

    fn poll_at(&self) -> Option<Instant> {
        let (_, after) = self.instructions.next.as_ref()?;
        after.map(|after| self.last + after)
    }

    fn keep_alive(&mut self) {
        if let Some((frame, _)) = &self.instructions.keep_alive {
            self.write(frame.clone());
        }
    }

    pub(super) fn write(&mut self, bytes: Bytes) {
        self.last = Instant::now();
        // Fails if the client has disconnected.
        let _ = self.body.send(Ok(bytes));
    }

    async fn handle(&mut self, command: Option<Command>) -> Result<(), Ended> {
        match command {
            Some(Command::Item(item)) => self.take(&item).await,
            Some(Command::Poll) => self.follow_link().await,
            Some(Command::Break) | None => {
                let _ = self.body.send(Err("the proxy has stopped"));
                Err(Ended)
            }
        }
    }

    async fn take(&mut self, item: &Item) -> Result<(), Ended> {
        let mut channels = self.instructions.channels.iter_mut();
        let Some(held) = channels.find(|held| held.name == item.channel) else {
            return Ok(());
        };
        match item.action() {
            Action::Close => Err(Ended),
            Action::Hint => self.follow_link().await,
            Action::Send(_) if held.prev_id.is_some() && held.prev_id != item.prev_id => {
                self.follow_link().await
            }
            Action::Send(bytes) => {
                if held.prev_id.is_some() {
                    held.prev_id.clone_from(&item.id);
                }
                self.write(bytes);
                Ok(())
            }
        }
    }

    /// Follows next links, page by page, until a response has a hold again.
    async fn follow_link(&mut self) -> Result<(), Ended> {
        loop {
            let (link, _) = self.instructions.next.take().ok_or(Ended)?;
            let LinkAnswer { instructions, body } = self.request(&link).await?;
            self.write(body);
            if instructions.is_stream() {
                self.instructions = instructions;
                return Ok(());
            }
            // Responses without a hold do not change the channels.
            self.instructions.next = instructions.next;
        }
    }

    /// Requests a link. As Pushpin, it requests a link that fails again, and then ends the stream.
    async fn request(&self, link: &str) -> Result<LinkAnswer, Ended> {
        for pause in [0, 1, 2, 4, 8, 16] {
            tokio::select! {
                () = self.body.closed() => return Err(Ended),
                () = sleep(Duration::from_secs(pause)) => {}
            }
            let request = LinkRequest::new(&self.uri, link, self.grip_last());
            if let Some(answer) = self.requests.merged(&self.app, request).await {
                return Ok(answer);
            }
        }
        Err(Ended)
    }

    /// The lines of `Grip-Last`: the id of the client's last message on each channel.
    fn grip_last(&self) -> Vec<String> {
        let channels = self.instructions.channels.iter();
        let line = |held: &Held| {
            let id = held.prev_id.as_ref()?;
            Some(format!("{}; last-id={id}", held.name))
        };
        channels.filter_map(line).collect()
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
