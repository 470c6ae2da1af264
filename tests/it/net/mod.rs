//! Streams behind `net::Listener`, whose sockets are detached from hyper.

mod connect_info;
mod detach;
mod slow_clients;
mod streams;
