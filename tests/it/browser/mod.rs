//! What a real Chromium makes of the streams.

mod event_source;
mod pages;
mod reconnect;
