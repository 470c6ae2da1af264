//! What a real Chromium makes of the streams.

mod board;
mod event_source;
mod instances;
mod pages;
mod reconnect;
mod ticker;
