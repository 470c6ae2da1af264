//! A client that a proxy will hold.

use super::{deferred::DeferredBody, options::Options};
use crate::{
    EventStream,
    channel::Channels,
    hub::Reader,
    proxies::{HoldOptions, HoldResponse, LinkResponse},
    request::{Rejection, Route, StreamRequest, ended},
    stream::TakeSnapshot,
    stream::{Failure, Taken, Task, reconnect_after},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use std::{mem, time::SystemTime};

pub(super) struct Held {
    pub(super) event_stream: EventStream,
    pub(super) request: StreamRequest,
    /// `None` if the request follows a link, which names them.
    pub(super) channels: Option<Channels>,
    /// The response, and whether it has the options of the application.
    pub(super) hold: HoldResponse,
    pub(super) has_options: bool,
    /// Detects that a channel is closed before the proxy holds the client.
    pub(super) reader: Reader,
}

/// The response that ends a stream in place of a hold.
type Ended = Box<Response>;

impl Held {
    /// Takes the snapshot, if the client needs one.
    pub(super) async fn ready(&mut self, options: &Options) -> Result<(), Ended> {
        let Some(take) = options.state.as_ref().filter(|_| self.takes_snapshot()) else {
            return Ok(());
        };
        match self.task(take).taken().await {
            Ok(taken) => {
                self.has_options = true;
                self.rebuild(options, Some(taken))
            }
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    /// Whether a snapshot may be in the response. A proxy sends the response to a link to all clients whose links
    /// are equal, so it may have a snapshot only if that depends on nothing but the path. That holds for a
    /// `StreamHandler`, and is unknown for a custom handler.
    fn takes_snapshot(&self) -> bool {
        let is_shared = self.channels.is_none() && self.request.route() != Route::Handler;
        self.hold.needs_snapshot && !is_shared
    }

    fn task(&self, take: &TakeSnapshot) -> Task {
        let core = self.event_stream.core();
        let limits = core.streams.snapshot_limits.clone();
        Task::start(take.clone(), limits, core.hub.clone())
    }

    fn failed(&self, failure: &Failure) -> Ended {
        failure.record(&self.event_stream.core().hub);
        Box::new(ended(reconnect_after()))
    }

    /// Replaces the response by one with the options of the application.
    fn rebuild(&mut self, options: &Options, snapshot: Option<Taken>) -> Result<(), Ended> {
        let has_snapshot = snapshot.is_some();
        let options = HoldOptions {
            has_snapshot: options.state.is_some(),
            snapshot,
            expires_at: options.expires_at,
        };
        match self.build(&options) {
            Ok(LinkResponse::Held(hold, _)) => self.hold = hold,
            Ok(LinkResponse::Ended(response)) => return Err(Box::new(response)),
            Err(rejection) => return Err(Box::new(rejection.into_response())),
        }
        match (has_snapshot, self.hold.needs_snapshot) {
            (true, true) => Err(self.failed(&Failure::Late)),
            (true, false) => {
                self.event_stream.observer().snapshot("sent");
                Ok(())
            }
            (false, _) => Ok(()),
        }
    }

    fn build(&self, options: &HoldOptions) -> Result<LinkResponse, Rejection> {
        let core = self.event_stream.core();
        let proxies = self.event_stream.proxies().ok_or(Rejection::NotProxied)?;
        let Some(channels) = &self.channels else {
            let answer = proxies.follow_link(core, &self.request, options.snapshot.as_ref());
            return answer.unwrap_or(Err(Rejection::NoLink));
        };
        let reader = core.hub.watch_held(channels);
        let hold = proxies.hold(core, &self.request, channels, options)?;
        Ok(LinkResponse::Held(hold, reader))
    }

    pub(super) fn respond(mut self, options: &Options) -> Response {
        let is_over = |time: SystemTime| time <= SystemTime::now();
        if self.reader.is_closed() || options.expires_at.is_some_and(is_over) {
            return ended(reconnect_after());
        }
        let has_options = options.state.is_some() || options.expires_at.is_some();
        if self.channels.is_some()
            && has_options
            && !mem::replace(&mut self.has_options, true)
            && let Err(ended) = self.rebuild(options, None)
        {
            return *ended;
        }
        if self.hold.needs_snapshot {
            match (&self.channels, &options.state) {
                // The client reconnects, and gets a snapshot then.
                (None, _) => return ended(reconnect_after()),
                (Some(channels), Some(take)) => {
                    let body = self.deferred(channels, take);
                    *self.hold.response.body_mut() = Body::new(body);
                }
                (Some(_), None) => {}
            }
        }
        self.call_hook();
        self.hold.response
    }

    /// A body that takes the snapshot, since the head cannot wait for it.
    fn deferred(&self, channels: &Channels, take: &TakeSnapshot) -> DeferredBody {
        let core = self.event_stream.core();
        DeferredBody::new(self.task(take), core, channels)
    }

    fn call_hook(&self) {
        if let (true, Some(channels), Some(parts)) = (
            self.hold.reports_disconnect,
            &self.channels,
            self.request.parts(),
        ) {
            let hooks = &self.event_stream.core().hooks;
            hooks.subscribed(channels, parts);
        }
    }
}
