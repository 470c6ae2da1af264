//! A client that a proxy will hold.

use super::{deferred::DeferredBody, options::Options};
use crate::{
    EventStream,
    channel::Channels,
    hub::Reader,
    proxies::{HoldOptions, HoldResponse, LinkResponse},
    request::{Rejection, Route, StreamRequest, ended},
    stream::{Failure, SnapshotSource, TakeSnapshot, Taken, Task, reconnect_after},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use std::{mem, time::SystemTime};

/// Most bytes of events that a deferred body has after the snapshot.
const LIMIT: usize = 1 << 20;

pub(super) struct Held {
    pub(super) event_stream: EventStream,
    pub(super) request: StreamRequest,
    /// `None` if the request follows a link, which names them.
    pub(super) channels: Option<Channels>,
    /// The response, at first without the options of the application.
    pub(super) hold: HoldResponse,
    /// The snapshot that the response will begin with.
    pub(super) snapshot: Option<Taken>,
    /// Detects that a channel is closed before the proxy holds the client.
    pub(super) reader: Reader,
}

/// The response that ends a stream in place of a hold.
pub(super) type Ended = Box<Response>;

impl Held {
    /// Takes the snapshot, if the client needs one.
    pub(super) async fn ready(&mut self, options: &Options) -> Result<(), Ended> {
        if self.event_stream.core().hub.keeps_history() {
            self.catch_up(options).await?;
        }
        if let Some(SnapshotSource::Function(take)) = &options.state
            && self.takes_function()
        {
            let taken = self.task(take).taken().await;
            let taken = taken.map_err(|failure| self.failed(&failure))?;
            self.snapshot = Some(taken);
        }
        Ok(())
    }

    /// Reads the shared log as far as the engine has it: the proxy may have later events from another instance.
    async fn catch_up(&mut self, options: &Options) -> Result<(), Ended> {
        let Some(backplane) = self.event_stream.backplane() else {
            return Ok(());
        };
        let has_caught_up = backplane.catch_up().await;
        self.build(options, false)?;
        if !has_caught_up && self.hold.has_reset && self.channels.is_none() {
            // The events may be in the log. The proxy asks again, perhaps another instance.
            return Err(Box::new(StatusCode::SERVICE_UNAVAILABLE.into_response()));
        }
        Ok(())
    }

    /// Whether the result of a function may be in the response. A proxy sends the response to a link to all clients
    /// whose links are equal, so it may have a snapshot only if that depends on nothing but the path. That
    /// holds for a `StreamHandler`, and is unknown for a custom handler.
    fn takes_function(&self) -> bool {
        let is_shared = self.channels.is_none() && self.request.route() != Route::Handler;
        self.hold.needs_snapshot && !is_shared && self.snapshot.is_none()
    }

    fn task(&self, take: &TakeSnapshot) -> Task {
        let core = self.event_stream.core();
        let limits = core.streams.snapshot_limits.clone();
        Task::start(take.clone(), limits, core.hub.clone())
    }

    /// The newest event of each key. A client that had a position forgets the keys that were removed since.
    fn latest(&self) -> Taken {
        let channels = &self.hold.channels;
        let latest = Taken::latest(&self.event_stream.core().hub, channels);
        match self.channels.is_none() || self.request.last_event_id().is_some() {
            true => latest.after_reset(channels),
            false => latest,
        }
    }

    fn failed(&self, failure: &Failure) -> Ended {
        failure.record(&self.event_stream.core().hub);
        Box::new(ended(reconnect_after()))
    }

    pub(super) fn respond(self, options: Options) -> Response {
        self.try_respond(options).unwrap_or_else(|ended| *ended)
    }

    /// Builds the response in four steps:
    ///
    /// 1. Take the snapshot if the client needs one. The newest events of keys are read now. A function starts as a
    ///    task, and a deferred body will send its result. Such a body begins with the opening, which a response to a
    ///    link does not have. So there, only [`ready`](Self::ready) takes the snapshot of a function.
    /// 2. Build the response again if it changes: the first one was built before the application set its options. The
    ///    response to a link has the options that are in the link, so only a snapshot changes it.
    /// 3. End the stream if a channel was closed or the stream has expired. This check follows the build, since the
    ///    build puts the number of the last close into the link, by which the proxy detects any later close. End the
    ///    stream even if the response to a link lacks the snapshot that its client needs: it reconnects and gets one.
    /// 4. Respond. A deferred body calls the hook and counts the snapshot when it is sent.
    fn try_respond(mut self, options: Options) -> Result<Response, Ended> {
        let is_link = self.channels.is_none();
        let deferred = match &options.state {
            Some(SnapshotSource::Function(take)) if !is_link && self.takes_function() => {
                Some(self.task(take))
            }
            Some(SnapshotSource::Latest) if self.hold.needs_snapshot => {
                self.snapshot = Some(self.latest());
                None
            }
            _ => None,
        };
        let has_options = options.state.is_some() || options.expires_at.is_some();
        if self.snapshot.is_some() || has_options && !is_link {
            self.build(&options, deferred.is_some())?;
        }
        if self.is_over(&options) || is_link && self.hold.needs_snapshot {
            return Err(Box::new(ended(reconnect_after())));
        }
        if let Some(task) = deferred {
            let response = mem::take(&mut self.hold.response);
            let hub = self.event_stream.core().hub.clone();
            let frame = move |taken: &Taken| self.frame(taken, &options);
            let body = DeferredBody::new(task, hub, frame);
            return Ok(response.map(|_| Body::new(body)));
        }
        if self.snapshot.is_some() {
            self.event_stream.observer().snapshot("sent");
        }
        self.call_hook();
        Ok(self.hold.response)
    }

    /// The bytes of a deferred body: the opening, the snapshot, and the events between its position and the hold's.
    fn frame(&self, taken: &Taken, options: &Options) -> Result<Bytes, Failure> {
        let core = self.event_stream.core();
        let mut bytes = BytesMut::from(&core.opening.frame(None)[..]);
        bytes.extend_from_slice(&taken.bytes);
        if taken.at < self.hold.position {
            let wanted = self.hold.channels.iter().cloned();
            let wanted: Vec<_> = wanted.map(|channel| (channel, Some(taken.at))).collect();
            let recall = core.hub.recall_until(&wanted, LIMIT, self.hold.position);
            if recall.more || !recall.gone.is_empty() {
                return Err(Failure::Late);
            }
            bytes.extend_from_slice(&recall.bytes);
        }
        if self.is_over(options) {
            return Err(Failure::Closed);
        }
        self.event_stream.observer().snapshot("sent");
        self.call_hook();
        Ok(bytes.freeze())
    }

    /// Whether a channel was closed, or the stream has expired.
    fn is_over(&self, options: &Options) -> bool {
        let has_expired = |time: SystemTime| time <= SystemTime::now();
        self.reader.is_closed() || options.expires_at.is_some_and(has_expired)
    }

    /// Replaces the response by one with the options and the snapshot. `is_deferred`: the body will be replaced.
    fn build(&mut self, options: &Options, is_deferred: bool) -> Result<(), Ended> {
        let has_snapshot = self.snapshot.is_some();
        let options = HoldOptions {
            has_snapshot: options.state.is_some(),
            snapshot: self.snapshot.take(),
            expires_at: options.expires_at,
            is_deferred,
        };
        let built = self.try_build(&options);
        self.snapshot = options.snapshot;
        match built {
            Ok(LinkResponse::Held(hold, _)) if has_snapshot && hold.needs_snapshot => {
                Err(self.failed(&Failure::Late))
            }
            Ok(LinkResponse::Held(hold, _)) => {
                self.hold = hold;
                Ok(())
            }
            Ok(LinkResponse::Ended(response)) => Err(Box::new(response)),
            Err(rejection) => {
                self.event_stream.observer().refused(rejection.reason());
                Err(Box::new(rejection.into_response()))
            }
        }
    }

    fn try_build(&self, options: &HoldOptions) -> Result<LinkResponse, Rejection> {
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

    /// Calls the hook for a client whose disconnect the proxy will report.
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
