//! What a proxy answers to a publish: any bytes, then the end of the connection.

use super::RUNTIME;
use axum_eventstream::grip::{GripConfig, Item, Publisher};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub fn check(answer: &[u8]) {
    let outcome = RUNTIME.block_on(publish(answer.to_vec()));
    if let Err(error) = outcome {
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.len() < 20_000, "{} bytes", text.len());
    }
}

async fn publish(answer: Vec<u8>) -> Result<(), axum_eventstream::grip::PublishError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = GripConfig::new(format!("http://{}", listener.local_addr().unwrap()));
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"]}") {
            let read = socket.read_buf(&mut request).await.unwrap();
            assert!(read > 0, "a whole request");
        }
        // The client may close first, when it has seen enough.
        let _ = socket.write_all(&answer).await;
        let _ = socket.shutdown().await;
    });
    let publisher = Publisher::new([proxy]).unwrap();
    let outcome = publisher.publish(Item::stream("a", "data: x\n\n")).await;
    served.await.unwrap();
    outcome
}
