//! What a real Chromium makes of the streams.

mod board;
mod event_source;
mod pages;
mod reconnect;
mod ticker;
