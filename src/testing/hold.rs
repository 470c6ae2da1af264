//! A client that a proxy holds.

use super::{
    instructions::{Held, Instructions},
    item::{Action, Item},
    merge::{LinkAnswer, LinkRequest},
    proxy::Shared,
};
use axum::Router;
use bytes::Bytes;
use http::Uri;
use http_body::Frame;
use std::{
    fmt,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep_until},
};

pub(super) type Written = Result<Bytes, BrokenOff>;

pub(super) enum Command {
    Item(Arc<Item>),
    /// Asks the next link, as after a time of silence.
    Ask,
    /// The connection breaks.
    Break,
}

pub(super) struct Hold {
    pub(super) shared: Arc<Shared>,
    pub(super) app: Router,
    pub(super) uri: Uri,
    pub(super) instructions: Instructions,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) body: UnboundedSender<Written>,
    /// When something was written, or asked for.
    pub(super) last: Instant,
}

/// The client's stream has ended.
struct Ended;

impl Hold {
    /// Runs until the client goes, or the stream ends. At first it asks if the client is `behind`.
    pub(super) async fn run(mut self, behind: bool) {
        let mut state = Ok(());
        if behind || !self.instructions.is_stream() {
            state = self.ask().await;
        }
        while state.is_ok() {
            let (keep_alive, poll) = (self.keep_alive_at(), self.poll_at());
            tokio::select! {
                biased;
                () = self.body.closed() => return,
                command = self.commands.recv() => state = self.obey(command).await,
                () = at(poll) => state = self.ask().await,
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
        // The client may be gone.
        let _ = self.body.send(Ok(bytes));
    }

    async fn obey(&mut self, command: Option<Command>) -> Result<(), Ended> {
        match command {
            Some(Command::Item(item)) => self.take(&item).await,
            Some(Command::Ask) => self.ask().await,
            Some(Command::Break) | None => {
                let _ = self.body.send(Err(BrokenOff));
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
            Action::Hint => self.ask().await,
            Action::Send(_) if held.prev_id.is_some() && held.prev_id != item.prev_id => {
                self.ask().await
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

    /// Asks the next link for what the client has missed, page by page, until there is a hold again.
    async fn ask(&mut self) -> Result<(), Ended> {
        loop {
            let (link, _) = self.instructions.next.take().ok_or(Ended)?;
            let request = LinkRequest::new(&self.uri, &link, self.grip_last());
            let answer = self.shared.merged(&self.app, request).await;
            let LinkAnswer { instructions, body } = answer.ok_or(Ended)?;
            self.write(body);
            if instructions.is_stream() {
                self.instructions = instructions;
                return Ok(());
            }
            // Until the next hold, the channels stay the same.
            self.instructions.next = instructions.next;
        }
    }

    /// The lines of `Grip-Last`: the last message that the client has of each channel.
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

/// What the client reads.
pub(super) struct HeldBody(pub(super) UnboundedReceiver<Written>);

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0
            .poll_recv(cx)
            .map(|written| Some(written?.map(Frame::data)))
    }
}

/// The proxy has stopped.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proxy has stopped")
    }
}

impl std::error::Error for BrokenOff {}
